// The body of the fuzz target of request metadata, shared with metadata_test.cc, which runs every
// kept input as an ordinary test. A broken property ends the process. Not part of the library.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "config/attribute.h"
#include "identity/flat_json.h"
#include "identity/metadata.h"

namespace weir::identity::fuzz {

struct Header {
  std::string name;
  std::string value;
};

// Each line is a header, or a JSON object that is signed rightly and sent, or is sent as it is
// behind an '='.
inline void MetadataEntry(std::string_view input) {
  if (const auto members = ReadFlatJson(input)) {
    std::set<std::string> names;
    for (const FlatMember& member : *members) {
      CHECK(names.insert(member.name).second, "no member is there twice");
      CHECK(member.text.empty() || !member.number, "a member is one thing");
    }
  } else {
    CHECK(!members.error().empty(), "a fault says what is wrong");
  }

  const Secret secret("the secret of the fuzz target");
  KeyRecord key;
  key.name = "ci";
  key.attributes = {{config::Dimension::kTeam, "growth"}};
  key.metadata =
      config::BitOf(config::Dimension::kUser) | config::BitOf(config::Dimension::kCustomerTier);
  std::vector<Header> headers;
  while (!input.empty()) {
    const std::size_t end = std::min(input.find('\n'), input.size());
    const std::string_view line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.starts_with('{')) {
      headers.push_back({"x-weir-metadata", SignMetadata(line, secret)});
    } else if (line.starts_with('=')) {
      headers.push_back({"x-weir-metadata", std::string(line.substr(1))});
    } else {
      const std::size_t colon = std::min(line.find(':'), line.size());
      headers.push_back({std::string(line.substr(0, colon)),
                         std::string(line.substr(std::min(colon + 1, line.size())))});
    }
  }
  const Instant now = Instant{} + Seconds(1'800'000'000);
  const auto metadata = ReadMetadata(key, "x-weir", headers, secret, now);
  if (!metadata) {
    CHECK(metadata.error().header.starts_with("x-weir-"), "a fault names its header");
    CHECK(!metadata.error().message.empty(), "and says what is wrong");
    return;
  }
  const auto& attributes = metadata->attributes;
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    const auto bit = config::BitOf(attributes[i].dimension);
    CHECK((bit & config::kAttributeBits) != 0, "only attributes are set");
    CHECK(config::AttributeFault(attributes[i].value).empty(), "to values that they may have");
    CHECK(i == 0 || attributes[i - 1].dimension < attributes[i].dimension, "each once, in order");
  }
  CHECK(!config::AttributeOf(attributes, config::Dimension::kTeam).empty(),
        "what the key has is not lost");
  CHECK(metadata->action.size() <= kActionIdMax, "ids of actions are short");
}

}  // namespace weir::identity::fuzz
