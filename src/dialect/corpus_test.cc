// Every input the fuzzers keep, as an ordinary test: the same entries, the same properties. A
// finding becomes a file in fuzz/corpus and stays found.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "dialect/fuzz_entry.h"
#include "dialect/golden_file_test.h"

namespace weir::dialect {
namespace {

int RunCorpus(std::string_view target, void (*entry)(std::string_view)) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus" / target;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    const std::string input = ReadWholeFile(file.path());
    entry(input);
    // Inputs cut short are inputs too.
    entry(std::string_view(input).substr(0, input.size() / 2));
    ++files;
  }
  return files;
}

TEST(Corpus, RequestShape) { EXPECT_GE(RunCorpus("request_shape", fuzz::RequestShapeEntry), 25); }
TEST(Corpus, JsonEdit) { EXPECT_GE(RunCorpus("json_edit", fuzz::JsonEditEntry), 10); }
TEST(Corpus, Sse) { EXPECT_GE(RunCorpus("sse", fuzz::SseEntry), 20); }
TEST(Corpus, StreamMeter) { EXPECT_GE(RunCorpus("stream_meter", fuzz::StreamMeterEntry), 20); }
TEST(Corpus, JsonMeter) { EXPECT_GE(RunCorpus("json_meter", fuzz::JsonMeterEntry), 8); }

}  // namespace
}  // namespace weir::dialect
