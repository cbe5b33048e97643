// YAML text as a tree of nodes that know where they stand: the part of YAML a configuration needs.
//
// yaml-cpp's own tree forgets keys given twice and follows aliases; its parser does not, so this
// stands on the parser. Anchors, aliases, tags, keys that are not plain text, keys given twice,
// more than one document, depth and size beyond the bounds are errors here. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/parse.h"

namespace weir::config {

inline constexpr std::size_t kYamlDepthMax = 16;
inline constexpr std::size_t kYamlNodesMax = 200'000;

enum class YamlKind : std::uint8_t {
  kNull,    // nothing, "~" or "null"
  kScalar,  // text, quoted or not
  kList,
  kMap,
  kRefused,  // reported already; whoever reads the tree passes over it
};

struct YamlEntry;

struct YamlNode {
  YamlKind kind = YamlKind::kNull;
  int line = 0;    // from 1
  int column = 0;  // from 1
  std::string text;
  std::vector<YamlNode> items;
  std::vector<YamlEntry> entries;  // in the order of the file, each key once
};

struct YamlEntry {
  std::string key;
  int line = 0;
  int column = 0;
  YamlNode value;
};

// Reads `text`. Problems are appended to `errors`; if the text is not YAML at all the result is
// kRefused.   fails  never throws
YamlNode ReadYaml(std::string_view text, std::string_view file_name,
                  std::vector<ConfigError>& errors, std::size_t bytes_max = kConfigBytesMax);

// Adds `error` unless there are too many; the last place says that more were found.
void AddError(std::vector<ConfigError>& errors, ConfigError error);

}  // namespace weir::config
