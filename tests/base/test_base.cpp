#include <gtest/gtest.h>

#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "kernels/base/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/printable.h"
#include "kernels/base/rng.h"
#include "kernels/base/thread_pool.h"

namespace cafx {
namespace {

TEST(Rng, KnownVectorsOfPhilox) {  // kat_vectors of the paper's own library
  using Counter = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, UniformAndNormalHaveTheirMoments) {
  const Rng rng{11, 3};
  double mean = 0.0, square = 0.0, u_mean = 0.0;
  constexpr int kN = 200000;
  for (int i = 0; i < kN; ++i) {
    const double x = rng.normal(static_cast<std::uint64_t>(i)), u = rng.uniform(static_cast<std::uint64_t>(i));
    ASSERT_TRUE(u >= 0.0 && u < 1.0);
    mean += x / kN;
    square += x * x / kN;
    u_mean += u / kN;
  }
  EXPECT_NEAR(mean, 0.0, 0.01);
  EXPECT_NEAR(square, 1.0, 0.02);
  EXPECT_NEAR(u_mean, 0.5, 0.005);
}

TEST(Rng, PermutationHoldsEveryIndexOnceAndDependsOnSeedAndStream) {
  const auto p = permutation(1000, {5, 1});
  EXPECT_EQ(std::set<std::uint32_t>(p.begin(), p.end()).size(), 1000u);
  EXPECT_EQ(p, permutation(1000, {5, 1}));
  EXPECT_NE(p, permutation(1000, {5, 2}));
  EXPECT_NE(p, permutation(1000, {6, 1}));
}

TEST(ThreadPool, EveryTaskRunsOnceOnAValidWorker) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> count(97);
      pool.run(97, [&](int i, int worker) {
        EXPECT_TRUE(worker >= 0 && worker < threads);
        ++count[static_cast<std::size_t>(i)];
      });
      for (const auto& c : count) ASSERT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, TheExceptionOfTheLowestTaskIsRethrownAndThePoolLivesOn) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    try {
      pool.run(40, [](int i, int) {
        if (i >= 7) throw Error("task {}", i);
      });
      FAIL() << "nothing was thrown";
    } catch (const Error& e) {
      EXPECT_STREQ(e.what(), "task 7");
    }
    std::atomic<int> n{0};
    pool.run(10, [&](int, int) { ++n; });
    EXPECT_EQ(n, 10);
  }
}

TEST(ThreadPool, MoreThreadsThanTheSystemGivesIsAnErrorThatEndsThoseStarted) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer needs the address space that is taken away here";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto start_too_many = [] {
    const rlimit limit{rlim_t{1} << 30, rlim_t{1} << 30};  // root too is held to this one
    setrlimit(RLIMIT_AS, &limit);
    try {
      ThreadPool pool(2000);
    } catch (const Error& e) {
      std::fprintf(stderr, "%s", e.what());
      std::exit(2);
    }
    std::exit(0);
  };
  EXPECT_EXIT(start_too_many(), testing::ExitedWithCode(2), "2000 threads cannot be started");
}

TEST(Hash, KnownValueAndLengths) {
  EXPECT_EQ(Hasher().hex(), "99aa06d3014798d86001c324468d497f");  // XXH3-128 of nothing
  Hasher a, b, c;
  a.add(std::string("ab"));
  a.add(std::string("c"));
  b.add(std::string("a"));
  b.add(std::string("bc"));
  c.add("abc", 2);
  c.add("c", 1);
  EXPECT_NE(a.hex(), b.hex());
  Hasher d;
  d.add("abc", 3);
  EXPECT_EQ(c.hex(), d.hex());
}

TEST(Error, CheckNamesConditionPlaceAndNumbers) {
  try {
    CAFX_CHECK(1 > 2, 1, 2.5, "x");
    FAIL() << "nothing was thrown";
  } catch (const CheckError& e) {
    EXPECT_NE(std::string(e.what()).find("1 > 2 is false (1, 2.5, x)"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("test_base.cpp:"), std::string::npos);
  }
}

TEST(Printable, NothingThatCommandsATerminalPasses) {
  EXPECT_EQ(printable("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(printable("\x1b[2J\x07\x7f\r"), "\\x1b[2J\\x07\\x7f\\x0d");
  EXPECT_EQ(printable("Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x8e\xb8"),
            "Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x8e\xb8");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");                                                 // a control of 8 bits
  EXPECT_EQ(printable("\xc4nderung"), "\\xc4nderung");                        // Latin-1
  EXPECT_EQ(printable("\xc0\x9b\xed\xa0\x80"), "\\xc0\\x9b\\xed\\xa0\\x80");  // too long, half a pair
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            "a\\xe2\\x80\\xaeb");  // turns the direction of writing
  EXPECT_EQ(printable_line("a\nb\tc"), "a b c");
  const std::string cut = printable_line("begin" + std::string(100000, 'x') + "end", 100);
  EXPECT_LT(cut.size(), 100u);
  EXPECT_EQ(cut.substr(0, 5), "begin");
  EXPECT_EQ(cut.substr(cut.size() - 3), "end");
}

// As Python's csv module reads it.
TEST(Csv, CellsAreQuotedByRfc4180) {
  EXPECT_EQ(csv_line({"a", "", "1.5"}), "a,,1.5\n");
  EXPECT_EQ(csv_line({"a,b", "say \"x\"", "two\nlines", "cr\r"}),
            "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\"cr\r\"\n");
}

}  // namespace
}  // namespace cafx
