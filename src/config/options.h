// Every option of the configuration file, once: its path, type, default, bounds and help. The
// parser reads by this table, the reference page is printed from it, and config/diff names what
// changed by it, so none of the three can know an option the others do not.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::config {

enum class OptionType : std::uint8_t {
  kText,
  kSecret,         // as kText, and never printed
  kFlag,           // true | false
  kCount,          // a whole number
  kBytes,          // 4096 | 64KiB | 32MiB | 1GiB
  kDuration,       // 250ms | 5s | 30m | 1h
  kUsd,            // 12.50
  kUsdPerMillion,  // 2.50: USD per million tokens
  kMultiplier,     // 3 | 0.5 | x3
  kTime,           // 2027-01-31 | 2027-01-31T12:00:00Z
  kAddress,        // 127.0.0.1:8080 | "[::1]:8080"
  kUrl,            // https://host[:port]/path
  kProxy,          // http://host:port
  kChoice,         // one of Option::choices
  kChoiceList,     // a list of them
  kTextList,
  kRouteList,      // names of upstreams, or {upstream, model}
  kPrice,          // {input: 2.50, ...}
  kCountList,      // [50, 75]
  kAmount,         // 12.50: of the unit of a policy
  kLocalTime,      // 2026-01-31T09:00: what clocks somewhere show
  kZone,           // Europe/Berlin
  kDimensionList,  // [team, user]; `max` has the bits of those allowed
  kAttributes,     // {team: growth}; likewise
  kConditions,     // {team: [growth, sales]}; likewise
};

// What a text may consist of, besides the bounds on its length.
enum class TextForm : std::uint8_t {
  kPrintable,     // no control characters
  kName,          // letters, digits, '.', '_', '-'
  kLowerName,     // lower-case letters, digits, '_', '-'
  kKeyPrefix,     // lower-case letters, digits, '_', and {env}
  kHeaderPrefix,  // lower-case letters, digits and '-', beginning with a letter
  kVisible,       // printable ASCII without blanks: what fits a header or a JSON string as it is
  kWebPage,       // http:// or https:// and visible characters; may be empty
};

// What a new value needs before it is in force.
enum class Effect : std::uint8_t { kReload, kRestart };

struct Option {
  std::string_view path = {};  // in the file: "limits.idle_deadline", "models[].price.input"
  OptionType type = OptionType::kText;
  TextForm form = TextForm::kPrintable;  // of texts
  std::string_view fallback = {};        // as it would be written; empty: none
  std::int64_t min = 0;                  // of numbers, bytes and nanoseconds; of texts, the length
  std::int64_t max = 0;
  std::string_view unit = {};     // of counts: "tokens"
  std::string_view choices = {};  // "process | power", in the order of the enum
  std::string_view help = {};     // one line
  Effect effect = Effect::kReload;
  bool required = false;
};

// All options, in the order of the reference page.
std::span<const Option> Options();

// The option at `path`, list indices left out ("models[].id"), or null.
const Option* FindOption(std::string_view path);

// "duration", "USD per million tokens", ...: as the reference and the errors say it.
std::string_view TypeName(OptionType type);

// docs/reference/options.md, whole.
std::string OptionsReferenceMarkdown();

}  // namespace weir::config
