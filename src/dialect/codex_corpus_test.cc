// Every input that the fuzzers of codex_fuzz_entry.h keep, as an ordinary test, and cut short.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "dialect/codex_fuzz_entry.h"
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
    for (std::size_t cut = 1; cut < 8; ++cut) {
      entry(std::string_view(input).substr(0, input.size() * cut / 8));
    }
    ++files;
  }
  return files;
}

TEST(Corpus, CodexAdapt) { EXPECT_GE(RunCorpus("codex_adapt", fuzz::CodexAdaptEntry), 13); }
TEST(Corpus, UnsupportedParameter) {
  EXPECT_GE(RunCorpus("unsupported_parameter", fuzz::UnsupportedParameterEntry), 6);
}
TEST(Corpus, StreamAggregate) {
  EXPECT_GE(RunCorpus("stream_aggregate", fuzz::StreamAggregateEntry), 10);
}
// The bodies that the reader of shapes is fuzzed with are bodies to adapt too.
TEST(Corpus, RequestShapesAdapted) {
  EXPECT_GE(RunCorpus("request_shape", fuzz::CodexAdaptEntry), 25);
}

}  // namespace
}  // namespace weir::dialect
