// write_cases FOLDER: each case's .nam file, and the signal as raw floats.
#include <fstream>

#include "tests/nam/cases.h"

int main(int argc, char** argv) {
  using namespace cafx;
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  for (const auto& c : nam_test::cases()) save_nam(folder / (c.name + ".nam"), nam_test::student_of(c), c.name);
  const std::vector<float> x = nam_test::signal();
  std::ofstream(folder / "x.f32", std::ios::binary)
      .write(reinterpret_cast<const char*>(x.data()), static_cast<long>(4 * x.size()));
}
