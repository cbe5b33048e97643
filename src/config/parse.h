// Text in, checked values out: the one way from a configuration file to a Config.
//
// Not for reading files or the environment: the caller hands over the text and a way to look up a
// variable, so that the same text always gives the same result.
//
// The YAML that is read is a subset on purpose: mappings, lists and scalars. Anchors, aliases, tags
// and a second document are refused (an alias can make a small file huge), as are keys given twice.
// A number or a price is taken from the very characters in the file; nothing passes through double.
//
// In any value ${NAME} is replaced by the environment variable NAME, ${NAME:-text} by it or, when
// it is unset or empty, by text, and $${ is a plain ${. The replacement is never read as YAML, so a
// variable cannot add a key.
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace weir::config {

// The value of an environment variable, or none when it is not set.
using EnvLookup = std::function<std::optional<std::string>(std::string_view name)>;

// The text of a file that the configuration names, or none when it cannot be read. A path that is
// relative means one beside the configuration.
using FileLookup = std::function<std::optional<std::string>(std::string_view path)>;

// The zone of an IANA name, or null when it is not known. Without one only "UTC" is.
using ZoneLookup = std::function<std::shared_ptr<const Zone>(std::string_view name)>;

inline constexpr std::size_t kConfigBytesMax = 1 << 20;
inline constexpr std::size_t kPriceFileBytesMax = 4 << 20;
inline constexpr std::size_t kPolicyBytesMax = 64 << 10;
inline constexpr std::size_t kConfigErrorsMax = 100;  // then one more that says there are others

// One thing wrong with a file, and how to put it right. Never holds the text of a secret or of a
// value that came from the environment.
struct ConfigError {
  std::string file;
  int line = 0;         // from 1; 0: about the file as a whole
  int column = 0;       // from 1, in characters
  std::string path;     // "models[2].price.input"; empty: about the file as a whole
  std::string message;  // "is not a duration"
  std::string fix;      // "write a number with its unit, such as 250ms, 5s or 30m"
};

// "weir.yaml:12:5: models[2].price.input: is not a price. write USD per million tokens ..."
std::string FormatConfigError(const ConfigError& error);

// Reads a whole configuration.
//   yaml_text  at most kConfigBytesMax bytes of UTF-8
//   file_name  only for the errors
//   files      asked for price_files; without it there are none
//   zones      asked for policies[].timezone
//   returns    the configuration, or every problem found, in the order of the file. A text that is
//              not YAML gives one error, where the reading stopped.
//   fails      never throws
std::expected<Config, std::vector<ConfigError>> ParseConfig(std::string_view yaml_text,
                                                            std::string_view file_name,
                                                            const EnvLookup& env,
                                                            const FileLookup& files = {},
                                                            const ZoneLookup& zones = {});

// Reads a price file: `prices: {MODEL: PRICE, ...}`, each written as models[].price is. No
// variable is set in it.
std::expected<PriceCatalog, std::vector<ConfigError>> ParsePriceFile(std::string_view yaml_text,
                                                                     std::string_view file_name);

// Reads one policy, written as an item of `policies` is, as YAML or as JSON (which is YAML). It may
// come from somebody who may not read the environment, so ${NAME} is nothing but a text.
//   config   what it refers to: models and upstreams
//   returns  the policy with its version, or every problem found; paths begin with the policy's
//            members ("limit")
std::expected<Policy, std::vector<ConfigError>> ParsePolicy(std::string_view text,
                                                            std::string_view file_name,
                                                            const ZoneLookup& zones,
                                                            const Config& config);

// The same of a file with several: `policies: [...]`, a list, or one policy.
std::expected<std::vector<Policy>, std::vector<ConfigError>> ParsePolicies(
    std::string_view text, std::string_view file_name, const ZoneLookup& zones,
    const Config& config);

}  // namespace weir::config
