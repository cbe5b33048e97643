// Every input that the fuzzer of form_fuzz_entry.h keeps, as an ordinary test, and cut short.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "dialect/form_fuzz_entry.h"
#include "dialect/golden_file_test.h"

namespace weir::dialect {
namespace {

TEST(Corpus, Multipart) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus/multipart";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    const std::string input = ReadWholeFile(file.path());
    fuzz::MultipartEntry(input);
    for (std::size_t cut = 1; cut < 32; ++cut) {
      fuzz::MultipartEntry(std::string_view(input).substr(0, input.size() * cut / 32));
    }
    ++files;
  }
  EXPECT_GE(files, 15);
}

}  // namespace
}  // namespace weir::dialect
