// Reads policies, and says which of their members do not go together. Private to this folder;
// others have ParsePolicy (parse.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node_reader.h"

namespace weir::config {

class PolicyReader : private NodeReader {
 public:
  using NodeReader::NodeReader;

  // The policy at `node`, or none after it has reported what is wrong.
  //   path     where it stands ("policies[2]"); may be empty
  //   config   what it may refer to: read before
  std::optional<Policy> Read(const YamlNode& node, const std::string& path, const Config& config);

 private:
  using Given = std::vector<std::string_view>;  // the table paths that were given

  void CheckWindow(const YamlNode& node, const std::string& path, const Given& given,
                   Policy& policy);
  void CheckAction(const YamlNode& node, const std::string& path, const Given& given,
                   const Config& config, const Policy& policy);
  void CheckConditions(const YamlNode& node, const std::string& path, std::string_view member,
                       const std::vector<Condition>& conditions, const Config& config);

  Lines lines_;  // of the ids so far
};

}  // namespace weir::config
