// Every input the fuzzers of the codec keep, as an ordinary test.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "net/fuzz_entry.h"

namespace weir::net {
namespace {

int RunCorpus(std::string_view target, void (*entry)(std::string_view)) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus" / target;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    const std::string input = bytes.str();
    for (std::size_t n = 0; n <= input.size(); ++n) entry(std::string_view(input).substr(0, n));
    ++files;
  }
  return files;
}

TEST(Corpus, HttpRequest) { EXPECT_GE(RunCorpus("http_request", fuzz::RequestEntry), 8); }
TEST(Corpus, HttpResponse) { EXPECT_GE(RunCorpus("http_response", fuzz::ResponseEntry), 6); }
TEST(Corpus, HttpChunked) { EXPECT_GE(RunCorpus("http_chunked", fuzz::ChunkedEntry), 6); }

}  // namespace
}  // namespace weir::net
