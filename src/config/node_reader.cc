#include "config/node_reader.h"

#include <fmt/format.h>

#include <array>
#include <tuple>
#include <type_traits>

#include "config/nearest.h"
#include "config/options.h"
#include "config/policy_text.h"
#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr std::size_t kListMax = 1000;

// What people write who know another program's file.
constexpr std::array<std::pair<std::string_view, std::string_view>, 28> kOtherNames{{
    {"scope", "match"},
    {"filter", "match"},
    {"split_by", "per"},
    {"tz", "timezone"},
    {"period", "window"},
    {"reset", "window"},
    {"amount", "limit"},
    {"budget", "limit"},
    {"thresholds", "alerts"},
    {"fallback_model", "degrade_to"},
    {"port", "listen"},
    {"host", "listen"},
    {"bind", "listen"},
    {"env", "environment"},
    {"providers", "upstreams"},
    {"upstream", "routes"},
    {"upstreams", "routes"},
    {"url", "base_url"},
    {"endpoint", "base_url"},
    {"key", "api_key"},
    {"rpm", "requests_per_minute"},
    {"tpm", "tokens_per_minute"},
    {"slots", "concurrency"},
    {"max_concurrency", "concurrency"},
    {"timeout", "wait"},
    {"keys", "reserved_for"},
    {"prompt", "input"},
    {"completion", "output"},
}};

// The word the pages of some products have for a choice.
constexpr std::string_view kAudioTranscription = "audioTranscription";

// The names an option may have at one level: of "limits." those up to the next '.' or '['.
std::vector<std::string_view> NamesUnder(std::string_view prefix) {
  std::vector<std::string_view> names;
  for (const Option& option : Options()) {
    if (!option.path.starts_with(prefix)) continue;
    const std::string_view rest = option.path.substr(prefix.size());
    const std::string_view name = rest.substr(0, rest.find_first_of(".["));
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string_view KindName(YamlKind kind) {
  switch (kind) {
    case YamlKind::kNull:
      return "nothing";
    case YamlKind::kScalar:
      return "a single value";
    case YamlKind::kList:
      return "a list";
    case YamlKind::kMap:
      return "a mapping";
    case YamlKind::kRefused:
      break;
  }
  return "";
}

// "an address", "USD": the name of a type in a sentence.
std::string WithArticle(OptionType type) {
  const std::string_view name = TypeName(type);
  switch (type) {
    case OptionType::kFlag:
    case OptionType::kUsd:
    case OptionType::kUsdPerMillion:
      return std::string(name);
    case OptionType::kAddress:
    case OptionType::kAmount:
      return fmt::format("an {}", name);
    default:
      return fmt::format("a {}", name);
  }
}

std::string HowToWriteAmount(QuotaUnit unit) {
  switch (unit) {
    case QuotaUnit::kUsd:
    case QuotaUnit::kFallbackSpend:
      return "write USD with at most nine decimals, such as 12.50";
    case QuotaUnit::kVideoSeconds:
    case QuotaUnit::kAudioSeconds:
      return "write seconds with at most three decimals, such as 90 or 7.5";
    default:
      return fmt::format("write a whole number up to {}", FormatAmount(unit, kQuotaMax));
  }
}

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || IsDigit(c) || (c >= 'A' && c <= 'Z'); }
bool IsControl(char c) { return static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F; }
bool IsVisible(char c) { return c > 0x20 && c < 0x7F; }

// For messages: clipped, in quotes, and nothing that moves a terminal's cursor. A value from the
// environment may be a secret and is never shown.
std::string Quoted(const EnvText& value, const Option& option) {
  if (value.from_environment || option.type == OptionType::kSecret) return "the value";
  std::string text = "\"";
  for (const char c : std::string_view(value.text).substr(0, 64)) {
    text += IsControl(c) ? '?' : c;
  }
  return text + (value.text.size() > 64 ? "...\"" : "\"");
}

}  // namespace

std::string_view HowToWrite(OptionType type) {
  switch (type) {
    case OptionType::kText:
    case OptionType::kSecret:
      return "write a text";
    case OptionType::kFlag:
      return "write true or false";
    case OptionType::kCount:
      return "write a whole number, such as 100";
    case OptionType::kBytes:
      return "write a size, such as 4096, 64KiB or 32MiB";
    case OptionType::kDuration:
      return "write a number with its unit, such as 250ms, 5s or 30m";
    case OptionType::kUsd:
      return "write USD with at most nine decimals, such as 12.50";
    case OptionType::kUsdPerMillion:
      return "write USD per million tokens with at most six decimals, such as 2.50";
    case OptionType::kMultiplier:
      return "write a number with at most six decimals, such as 3 or 0.5";
    case OptionType::kTime:
      return "write 2027-01-31 or 2027-01-31T12:00:00Z";
    case OptionType::kAddress:
      return "write an address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or \"[::1]:8080\"";
    case OptionType::kUrl:
      return "write https://HOST[:PORT][/PATH] without user, query or fragment";
    case OptionType::kProxy:
      return "write http://HOST:PORT without user or path";
    case OptionType::kChoice:
      return "write one of them";
    case OptionType::kChoiceList:
    case OptionType::kTextList:
      return "write a list, such as [a, b]";
    case OptionType::kRouteList:
      return "write a list, such as [openai]";
    case OptionType::kPrice:
      return "write a mapping, such as {input: 2.50, output: 10.00}";
    case OptionType::kCountList:
      return "write a list, such as [50, 100]";
    case OptionType::kAmount:
      return "write an amount of the policy's unit, such as 500";
    case OptionType::kLocalTime:
      return "write 2026-01-31 or 2026-01-31T09:00, without a zone";
    case OptionType::kZone:
      return "write an IANA name, such as Europe/Berlin";
    case OptionType::kDimensionList:
      return "write a list, such as [team, user]";
    case OptionType::kAttributes:
      return "write a mapping, such as {team: growth}";
    case OptionType::kConditions:
      return "write a mapping, such as {team: growth, environment: [dev, staging]}";
  }
  return "";
}

std::string_view FaultOfForm(TextForm form, std::string_view text) {
  const auto all = [&](auto allowed) { return std::ranges::all_of(text, allowed); };
  switch (form) {
    case TextForm::kPrintable:
      // A closing quote that is missing at the end of the file reads as a text that ends in a
      // blank.
      if (text.starts_with(' ') || text.ends_with(' ')) {
        return "remove the blanks around it; is a quote missing?";
      }
      if (all([](char c) { return !IsControl(c); })) return {};
      return "use no control characters and no line breaks";
    case TextForm::kName:
      if (all([](char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; })) return {};
      return "use letters, digits, '.', '_' and '-'";
    case TextForm::kLowerName:
      if (all([](char c) { return IsLower(c) || IsDigit(c) || c == '_' || c == '-'; })) return {};
      return "use lower-case letters, digits, '_' and '-'";
    case TextForm::kKeyPrefix: {
      std::string rest(text);
      if (const auto at = rest.find("{env}"); at != std::string::npos) rest.erase(at, 5);
      if (std::ranges::all_of(rest, [](char c) { return IsLower(c) || IsDigit(c) || c == '_'; })) {
        return {};
      }
      return "use lower-case letters, digits and '_', and {env} for the environment";
    }
    case TextForm::kHeaderPrefix:
      if (!text.empty() && IsLower(text.front()) && text.back() != '-' &&
          all([](char c) { return IsLower(c) || IsDigit(c) || c == '-'; })) {
        return {};
      }
      return "use lower-case letters, digits and '-', and begin with a letter";
    case TextForm::kVisible:
      if (all(IsVisible)) return {};
      return "use visible ASCII characters only: no blanks, no line break at the end";
    case TextForm::kWebPage:
      if (text.empty()) return {};
      if ((text.starts_with("https://") || text.starts_with("http://")) && all(IsVisible)) {
        return {};
      }
      return "write a whole URL, such as https://docs.example.com/";
  }
  return {};
}

std::string Join(const std::string& path, std::string_view name) {
  std::string text = path.empty() ? "" : path + ".";
  for (const char c : name.substr(0, 64)) text += IsControl(c) ? '?' : c;
  return text;
}

const YamlNode& NodeAt(const YamlNode& root, std::initializer_list<std::string_view> names) {
  const YamlNode* node = &root;
  for (const std::string_view name : names) {
    const auto entry = std::ranges::find(node->entries, name, &YamlEntry::key);
    if (entry == node->entries.end()) break;
    node = &entry->value;
  }
  return *node;
}

std::string DidYouMean(std::string_view text, std::span<const std::string_view> known,
                       std::string otherwise) {
  const std::string_view near = Nearest(text, known);
  return near.empty() ? otherwise : fmt::format("did you mean {}?", near);
}

void SortErrors(std::string_view file, std::vector<ConfigError>& errors) {
  std::ranges::sort(errors, std::less<>(), [&](const ConfigError& e) {
    return std::tuple(e.file != file, e.file, e.line == 0 ? INT32_MAX : e.line, e.column, e.path,
                      e.message);
  });
}

bool NodeReader::Expect(const YamlNode& node, YamlKind kind, const std::string& path,
                        std::string_view fix) {
  if (node.kind == kind) return true;
  if (node.kind == YamlKind::kRefused) return false;
  Report(node, path, fmt::format("is {}, not {}", KindName(node.kind), KindName(kind)),
         node.kind == YamlKind::kNull ? "give it a value or remove the line" : std::string(fix));
  return false;
}

std::optional<EnvText> NodeReader::ReadText(const YamlNode& node, const std::string& path,
                                            const Option& option) {
  if (!Expect(node, YamlKind::kScalar, path, HowToWrite(option.type))) return std::nullopt;
  if (!env_) return EnvText{.text = node.text, .from_environment = false};
  auto text = ReplaceEnv(node.text, env_);
  if (!text) {
    Report(node, path, std::move(text.error().message), std::move(text.error().fix));
    return std::nullopt;
  }
  return *std::move(text);
}

std::optional<std::string> NodeReader::ReadFormedText(const YamlNode& node, const std::string& path,
                                                      const Option& option) {
  auto value = ReadText(node, path, option);
  if (!value) return std::nullopt;
  const auto length = static_cast<std::int64_t>(value->text.size());
  const bool absent = option.type == OptionType::kSecret && length == 0;
  if (!absent && (length < option.min || length > option.max)) {
    Report(node, path, fmt::format("has {} characters", length),
           fmt::format("use {}", FormatBounds(option)));
    return std::nullopt;
  }
  if (const auto fault = FaultOfForm(option.form, value->text); !fault.empty()) {
    Report(node, path,
           fmt::format("{} has characters that are not allowed", Quoted(*value, option)),
           std::string(fault));
    return std::nullopt;
  }
  return std::move(value->text);
}

// Reads one value into the place the table names, by the type of that place.
struct NodeReader::Setter {
  NodeReader& reader;
  const YamlNode& node;
  const std::string& path;
  const Option& option;

  void operator()(std::monostate) const {}
  void operator()(std::string* target) const {
    if (auto text = reader.ReadFormedText(node, path, option)) *target = *std::move(text);
  }
  void operator()(Secret* target) const {
    if (auto text = reader.ReadFormedText(node, path, option)) *target = Secret(*std::move(text));
  }
  void operator()(bool* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    if (text->text != "true" && text->text != "false") return NotOfType(*text);
    *target = text->text == "true";
  }
  void operator()(std::int32_t* target) const {
    if (option.type == OptionType::kChoice) {
      if (const auto index = ReadChoice(node, path)) {
        *target = static_cast<std::int32_t>(ParseCount(ChoiceAt(option.choices, *index)).value());
      }
      return;
    }
    std::int64_t value = *target;
    (*this)(&value);
    *target = static_cast<std::int32_t>(value);  // the table's bounds are narrower
  }
  void operator()(std::uint32_t* target) const {
    if (option.type == OptionType::kChoiceList) return ReadChoices(*target);
    if (option.type == OptionType::kDimensionList) {
      std::vector<Dimension> dimensions;
      (*this)(&dimensions);
      *target = 0;
      for (const Dimension dimension : dimensions) *target |= BitOf(dimension);
      return;
    }
    std::int64_t value = *target;
    (*this)(&value);
    *target = static_cast<std::uint32_t>(value);  // as above
  }
  void operator()(std::optional<std::int64_t>* target) const {
    Number(&ParseCount, [](std::int64_t n) { return n; }, *target);
  }
  void operator()(std::vector<std::int64_t>* target) const {
    if (!reader.Expect(node, YamlKind::kList, path, HowToWrite(option.type))) return;
    Option each = option;
    each.type = OptionType::kCount;
    std::vector<std::int64_t> list;
    for (std::size_t i = 0; i < std::min(node.items.size(), kListMax); ++i) {
      std::int64_t count = option.min - 1;
      Setter{reader, node.items[i], fmt::format("{}[{}]", path, i), each}(&count);
      if (count >= option.min) list.push_back(count);
    }
    *target = std::move(list);
  }
  void operator()(QuotaRef target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    const auto steps = ParseAmount(target.unit, text->text);
    if (!steps) {
      return reader.Report(
          node, path,
          fmt::format("{} is not an amount of {}", Quoted(*text, option), Name(target.unit)),
          HowToWriteAmount(target.unit));
    }
    const std::int64_t amount = *steps;
    if (target.steps != nullptr) *target.steps = amount;
    if (target.maybe != nullptr) *target.maybe = amount;
  }
  void operator()(std::shared_ptr<const Zone>* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    if (text->text == Zone().name) return target->reset();
    auto zone = reader.zones_ ? reader.zones_(text->text) : nullptr;
    if (zone == nullptr) {
      const std::string near = reader.NearZone(text->text);
      return reader.Report(
          node, path, fmt::format("{} is not a time zone", Quoted(*text, option)),
          near.empty() || text->from_environment
              ? "write an IANA name, such as Europe/Berlin; this machine's tzdata must have it"
              : fmt::format("did you mean {}?", near));
    }
    *target = std::move(zone);
  }
  void operator()(std::vector<Dimension>* target) const {
    if (!reader.Expect(node, YamlKind::kList, path, HowToWrite(option.type))) return;
    std::vector<Dimension> list;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = fmt::format("{}[{}]", path, i);
      const auto text = reader.ReadText(node.items[i], item_path, option);
      if (!text) continue;
      const auto dimension = reader.FindDimension(node.items[i].line, node.items[i].column,
                                                  item_path, text->text, option);
      if (!dimension) continue;
      if (std::ranges::find(list, *dimension) != list.end()) {
        reader.Report(node.items[i], item_path, "is in the list twice", "keep one of the two");
        continue;
      }
      list.push_back(*dimension);
    }
    std::ranges::sort(list);
    *target = std::move(list);
  }
  void operator()(std::vector<Attribute>* target) const {
    std::vector<Attribute> list;
    ForEachDimension([&](Dimension dimension, const YamlNode& value, const std::string& at) {
      if (auto text = reader.ReadDimensionValue(value, at, dimension)) {
        list.push_back({dimension, *std::move(text)});
      }
    });
    std::ranges::sort(list, {}, &Attribute::dimension);
    *target = std::move(list);
  }
  void operator()(std::vector<Condition>* target) const {
    std::vector<Condition> list;
    ForEachDimension([&](Dimension dimension, const YamlNode& value, const std::string& at) {
      Condition condition{dimension, {}};
      const bool single = value.kind != YamlKind::kList;
      const auto items = single ? std::span(&value, 1) : std::span(value.items);
      if (items.empty()) reader.Report(value, at, "is empty", "name at least one value");
      if (items.size() > kListMax) {
        reader.Report(value, at, fmt::format("has {} items", items.size()),
                      fmt::format("use at most {}", kListMax));
        return;
      }
      for (std::size_t i = 0; i < items.size(); ++i) {
        const std::string item_path = single ? at : fmt::format("{}[{}]", at, i);
        auto text = reader.ReadDimensionValue(items[i], item_path, dimension);
        if (!text) continue;
        if (std::ranges::find(condition.values, *text) != condition.values.end()) {
          reader.Report(items[i], item_path, "is in the list twice", "keep one of the two");
          continue;
        }
        condition.values.push_back(*std::move(text));
      }
      std::ranges::sort(condition.values);
      if (!condition.values.empty()) list.push_back(std::move(condition));
    });
    std::ranges::sort(list, {}, &Condition::dimension);
    *target = std::move(list);
  }
  void operator()(std::int64_t* target) const {
    if (option.type == OptionType::kLocalTime) {
      const auto text = reader.ReadText(node, path, option);
      if (!text) return;
      const auto local = ParseLocalTime(text->text);
      if (!local) return NotOfType(*text);
      *target = *local;
      return;
    }
    const bool bytes = option.type == OptionType::kBytes;
    Number(bytes ? &ParseBytes : &ParseCount, [](std::int64_t n) { return n; }, *target);
  }
  void operator()(Duration* target) const {
    Number(&ParseDuration, [](Duration d) { return d.ns; }, *target);
  }
  void operator()(NanoUsd* target) const {
    Number(&ParseUsd, [](NanoUsd usd) { return usd.n; }, *target);
  }
  void operator()(std::optional<NanoUsd>* target) const {
    if (node.kind == YamlKind::kScalar && node.text == "none") {
      target->reset();
      return;
    }
    NanoUsd amount{-1};
    (*this)(&amount);
    if (amount.n >= 0) *target = amount;
  }
  void operator()(PicoUsdPerUnit* target) const {
    Number(&ParseUsdPerMillion, [](PicoUsdPerUnit price) { return price.p; }, *target);
  }
  void operator()(Multiplier* target) const {
    Number(&ParseMultiplier, [](Multiplier m) { return m.ppm; }, *target);
  }
  void operator()(std::optional<Instant>* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    const auto instant = ParseTime(text->text);
    if (!instant) return NotOfType(*text);
    *target = *instant;
  }
  void operator()(Listen* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    auto listen = ParseAddress(text->text);
    if (!listen) return NotOfType(*text);
    *target = *std::move(listen);
  }
  void operator()(Upstream* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    auto url = ParseUrl(text->text);
    if (!url) return NotOfType(*text);
    target->tls = url->tls;
    target->host = std::move(url->host);
    target->port = url->port;
    target->base_path = std::move(url->path);
  }
  void operator()(std::optional<Proxy>* target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    auto proxy = ParseProxy(text->text);
    if (!proxy) return NotOfType(*text);
    *target = *std::move(proxy);
  }
  void operator()(std::vector<std::string>* target) const {
    if (option.type == OptionType::kChoiceList) return ReadChoices(*target);
    if (!reader.Expect(node, YamlKind::kList, path, HowToWrite(option.type))) return;
    if (node.items.size() > kListMax) {
      return reader.Report(node, path, fmt::format("has {} items", node.items.size()),
                           fmt::format("use at most {}", kListMax));
    }
    std::vector<std::string> list;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = fmt::format("{}[{}]", path, i);
      auto text = reader.ReadFormedText(node.items[i], item_path, option);
      if (!text) continue;
      if (std::ranges::find(list, *text) != list.end()) {
        reader.Report(node.items[i], item_path, "is in the list twice", "keep one of the two");
        continue;
      }
      list.push_back(*std::move(text));
    }
    *target = std::move(list);
  }
  void operator()(std::optional<HangUpRule>* target) const {
    if (const auto index = ReadChoice(node, path)) *target = static_cast<HangUpRule>(*index);
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void operator()(Enum* target) const {
    if (const auto index = ReadChoice(node, path)) *target = static_cast<Enum>(*index);
  }

 private:
  void NotOfType(const EnvText& text) const {
    reader.Report(node, path,
                  fmt::format("{} is not {}", Quoted(text, option), WithArticle(option.type)),
                  std::string(HowToWrite(option.type)));
  }

  template <class Parse, class Amount, class Value>
  void Number(Parse parse, Amount amount, Value& target) const {
    const auto text = reader.ReadText(node, path, option);
    if (!text) return;
    const auto value = parse(text->text);
    if (!value) return NotOfType(*text);
    if (amount(*value) < option.min || amount(*value) > option.max) {
      return reader.Report(node, path, fmt::format("{} is out of bounds", Quoted(*text, option)),
                           fmt::format("use {}", FormatBounds(option)));
    }
    const auto& read = *value;
    target = read;
  }

  std::optional<std::size_t> ReadChoice(const YamlNode& item, const std::string& item_path) const {
    auto text = reader.ReadText(item, item_path, option);
    if (!text) return std::nullopt;
    if (text->text == kAudioTranscription) text->text = "transcription";
    std::vector<std::string_view> choices;
    for (std::size_t i = 0; !ChoiceAt(option.choices, i).empty(); ++i) {
      choices.push_back(ChoiceAt(option.choices, i));
      if (choices.back() == text->text) return i;
    }
    const std::string_view near = Nearest(text->text, choices);
    std::string fix = fmt::format("write one of {}", fmt::join(choices, ", "));
    if (!near.empty() && !text->from_environment)
      fix = fmt::format("did you mean {}? {}", near, fix);
    reader.Report(item, item_path, fmt::format("{} is not a choice", Quoted(*text, option)),
                  std::move(fix));
    return std::nullopt;
  }

  void ReadChoices(std::vector<std::string>& target) const {
    if (!reader.Expect(node, YamlKind::kList, path, HowToWrite(option.type))) return;
    std::vector<std::string> list;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = fmt::format("{}[{}]", path, i);
      const auto index = ReadChoice(node.items[i], item_path);
      if (!index) continue;
      const std::string_view choice = ChoiceAt(option.choices, *index);
      if (std::ranges::find(list, choice) != list.end()) {
        reader.Report(node.items[i], item_path, "is in the list twice", "keep one of the two");
        continue;
      }
      list.emplace_back(choice);
    }
    target = std::move(list);
  }

  // `take` is called with each member of a mapping of dimensions: its value, and where that stands.
  template <class Take>
  void ForEachDimension(Take take) const {
    if (!reader.Expect(node, YamlKind::kMap, path, HowToWrite(option.type))) return;
    for (const YamlEntry& entry : node.entries) {
      const std::string at = Join(path, entry.key);
      const auto dimension = reader.FindDimension(entry.line, entry.column, at, entry.key, option);
      if (dimension) take(*dimension, entry.value, at);
    }
  }

  void ReadChoices(std::uint32_t& target) const {
    if (!reader.Expect(node, YamlKind::kList, path, HowToWrite(option.type))) return;
    std::uint32_t bits = 0;
    bool faulty = false;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const auto index = ReadChoice(node.items[i], fmt::format("{}[{}]", path, i));
      faulty |= !index;
      if (index) bits |= 1U << *index;
    }
    if (bits == 0 && !faulty) reader.Report(node, path, "is empty", "name at least one");
    if (bits != 0) target = bits;
  }
};

void NodeReader::Set(const YamlNode& node, const std::string& path, const Option& option,
                     const ValueRef& place) {
  std::visit(Setter{*this, node, path, option}, place);
}

std::optional<Dimension> NodeReader::FindDimension(int line, int column, const std::string& path,
                                                   std::string_view name, const Option& option) {
  const auto allowed = [&](std::size_t i) { return (option.max >> i & 1) != 0; };
  std::vector<std::string_view> names;
  bool known = false;
  for (std::size_t i = 0; i < kDimensions; ++i) {
    if (name == kDimensionNames[i] && allowed(i)) return static_cast<Dimension>(i);
    known |= name == kDimensionNames[i];
    if (allowed(i)) names.push_back(kDimensionNames[i]);
  }
  ReportAt(line, column, path, known ? "is known of each request by itself" : "is not a dimension",
           known ? std::string("remove it here; policies may name it all the same")
                 : DidYouMean(name, names, fmt::format("known: {}", fmt::join(names, ", "))));
  return std::nullopt;
}

std::optional<std::string> NodeReader::ReadDimensionValue(const YamlNode& node,
                                                          const std::string& path,
                                                          Dimension dimension) {
  static const Option kValue{
      .path = "value", .type = OptionType::kText, .min = 1, .max = kAttributeValueMax};
  auto text = ReadFormedText(node, path, kValue);
  if (!text) return std::nullopt;
  if (!std::ranges::all_of(*text, [](char c) { return c == ' ' || IsVisible(c); })) {
    Report(node, path, "has characters that are not ASCII", "use letters, digits and punctuation");
    return std::nullopt;
  }
  const std::span<const std::string_view> closed =
      dimension == Dimension::kModality     ? std::span<const std::string_view>(kModalityNames)
      : dimension == Dimension::kImageClass ? std::span<const std::string_view>(kImageClassNames)
      : dimension == Dimension::kEndpoint   ? std::span<const std::string_view>(kEndpointNames)
                                            : std::span<const std::string_view>();
  if (!closed.empty() && std::ranges::find(closed, *text) == closed.end()) {
    Report(node, path, fmt::format("is no value of {}", Name(dimension)),
           DidYouMean(*text, closed, fmt::format("write one of {}", fmt::join(closed, ", "))));
    return std::nullopt;
  }
  return text;
}

// "europe/new york" is "Europe/New_York", "cet" is "CET"; what is wrong otherwise nobody can guess,
// as the lookup cannot be asked for names.
std::string NodeReader::NearZone(std::string_view text) const {
  constexpr std::size_t kNameMax = 64;
  if (!zones_ || text.size() > kNameMax) return {};
  std::string title;
  std::string upper;
  for (const char c : text) {
    const bool begins = title.empty() || std::string_view("/_-").contains(title.back());
    const bool letter = IsAlnum(c) && !IsDigit(c);
    const char large = letter ? static_cast<char>(c & ~0x20) : c == ' ' ? '_' : c;
    upper += large;
    title += letter && !begins ? static_cast<char>(c | 0x20) : large;
  }
  for (std::string* near : {&title, &upper}) {
    if (zones_(*near) != nullptr) return std::move(*near);
  }
  return {};
}

void NodeReader::ReportUnknown(const YamlEntry& entry, const std::string& path,
                               const std::string& table_path, const std::string& prefix) {
  if (FindOption(table_path) != nullptr) {
    return ReportAt(entry.line, entry.column, path, "is written as one name",
                    "write each part on a line of its own, the later below the earlier");
  }
  const auto names = NamesUnder(prefix);
  for (const auto& [other, ours] : kOtherNames) {
    if (other == entry.key && std::ranges::find(names, ours) != names.end()) {
      return ReportAt(entry.line, entry.column, path, "is not an option",
                      fmt::format("did you mean {}?", ours));
    }
  }
  ReportAt(entry.line, entry.column, path, "is not an option",
           DidYouMean(entry.key, names, fmt::format("known here: {}", fmt::join(names, ", "))));
}

std::span<const YamlNode> NodeReader::Items(const YamlNode* list, const std::string& path,
                                            std::size_t count_max) {
  if (list == nullptr || !Expect(*list, YamlKind::kList, path, "write - before each item")) {
    return {};
  }
  if (list->items.size() <= count_max) return list->items;
  Report(*list, path, fmt::format("has {} items", list->items.size()),
         fmt::format("use at most {}", count_max));
  return std::span(list->items).first(count_max);
}

void NodeReader::CheckName(const YamlNode& node, const std::string& path, std::string_view key,
                           const std::string& name, Lines& lines) {
  if (name.empty()) return;
  const YamlNode* at = &NodeAt(node, {key});
  const auto [first, added] = lines.emplace(name, at->line);
  if (added) return;
  Report(*at, Join(path, key),
         key == "secret" ? fmt::format("is the secret of the key on line {} too", first->second)
                         : fmt::format("\"{:.64}\" is taken since line {}", name, first->second),
         "give each its own");
}

std::optional<std::uint32_t> NodeReader::FindName(const YamlNode& node, const std::string& path,
                                                  const std::string& name, const Names& known,
                                                  std::string_view what, std::string_view list) {
  if (const auto found = known.find(name); found != known.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [other, index] : known) names.push_back(other);
  const std::string_view near = Nearest(name, names);
  constexpr std::size_t kShown = 20;
  Report(node, path, fmt::format("no {} is named \"{:.128}\"", what, name),
         !near.empty() ? fmt::format("did you mean {}?", near)
         : names.empty() || names.size() > kShown
             ? fmt::format("add one of that name to {}", list)
             : fmt::format("known: {}", fmt::join(names, ", ")));
  return std::nullopt;
}

}  // namespace weir::config
