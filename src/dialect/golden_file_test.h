// Reads a golden file for the tests of this folder. Not part of the library.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace weir::dialect {

inline std::string ReadWholeFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// `name` is "openai_chat/reply.json".
inline std::string Golden(std::string_view name) {
  return ReadWholeFile(std::filesystem::path(WEIR_SOURCE_DIR) / "test/golden" / name);
}

}  // namespace weir::dialect
