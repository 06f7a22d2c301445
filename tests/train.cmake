# The trainer, over every type of model.
add_executable(test_train
  train/test_average.cpp
  train/test_cohort.cpp
  train/test_config.cpp
  train/test_corpus.cpp
  train/test_train_knobs.cpp
  train/test_trainer.cpp
)
target_link_libraries(test_train PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_train DISCOVERY_MODE PRE_TEST PROPERTIES LABELS train TIMEOUT 300)
