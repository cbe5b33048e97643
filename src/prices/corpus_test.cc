// Every input that the fuzzers of fuzz_entry.h keep, as an ordinary test, whole, cut short, and
// with single bytes changed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "prices/fuzz_entry.h"

namespace weir::prices {
namespace {

int RunCorpus(std::string_view target, void (*entry)(std::string_view)) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus" / target;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    entry(input);
    for (std::size_t cut = 1; cut < 16; ++cut) {
      entry(std::string_view(input).substr(0, input.size() * cut / 16));
    }
    for (std::size_t at = 0; at < input.size(); at += 1 + input.size() / 200) {
      for (const char c : {'\0', '"', '}', '9', 'e', '-'}) {
        std::string changed = input;
        changed[at] = c;
        entry(changed);
      }
    }
    ++files;
  }
  return files;
}

TEST(Corpus, LiteLlm) { EXPECT_GE(RunCorpus("price_litellm", fuzz::LiteLlmEntry), 4); }
TEST(Corpus, ModelsDev) { EXPECT_GE(RunCorpus("price_models_dev", fuzz::ModelsDevEntry), 3); }

}  // namespace
}  // namespace weir::prices
