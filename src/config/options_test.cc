// The table of options against the rest: the defaults of config.h, the parser, the reference page.
#include "config/options.h"

#include <gtest/gtest.h>

#include <set>

#include "config/option_table.h"
#include "config/parse.h"

namespace weir::config {
namespace {

// The file gets what it leaves out from the members' initialisers; the page prints the table's.
template <class Object>
void ExpectDefaultsAgree(std::span<const Field<Object>> fields) {
  Object object;
  for (const Field<Object>& field : fields) {
    if (field.option.required || field.option.path.starts_with("keys[].limits.") ||
        std::holds_alternative<std::monostate>(field.at(object))) {
      continue;  // no default; from key_defaults; from other lists
    }
    const std::string own = FormatValue(field.option, field.at(object));
    if (field.option.path == "models[].price.version" ||
        field.option.path == "policies[].version" ||
        (field.option.type == OptionType::kUsdPerMillion && (own == "0.00" || own.empty()))) {
      continue;  // what stands for them when they are absent is said in words
    }
    EXPECT_EQ(own, field.option.path == "price_files" ? "[]" : field.option.fallback)
        << field.option.path;
  }
}

TEST(Options, EveryDefault_EqualsTheStructsOwn) {
  ExpectDefaultsAgree(ConfigFields());
  ExpectDefaultsAgree(UpstreamFields());
  ExpectDefaultsAgree(AccountFields());
  ExpectDefaultsAgree(PoolFields());
  ExpectDefaultsAgree(PackageFields());
  ExpectDefaultsAgree(WorkspaceFields());
  ExpectDefaultsAgree(ModelFields());
  ExpectDefaultsAgree(DowngradeFields());
  ExpectDefaultsAgree(PriceFields());
  ExpectDefaultsAgree(TierFields());
  ExpectDefaultsAgree(ImageFields());
  ExpectDefaultsAgree(KeyFields());
  ExpectDefaultsAgree(PolicyFields());
  ExpectDefaultsAgree(WebhookFields());
}

TEST(Options, EveryOption_IsNamedOnceAndExplained) {
  std::set<std::string_view> paths;
  for (const Option& option : Options()) {
    EXPECT_TRUE(paths.insert(option.path).second) << option.path;
    EXPECT_EQ(FindOption(option.path), &option);
    EXPECT_TRUE(option.help.ends_with('.')) << option.path;
    EXPECT_FALSE(option.help.contains('\n')) << option.path;
    EXPECT_FALSE(option.help.contains('|')) << option.path << ": breaks the table";
    EXPECT_LE(option.min, option.max) << option.path;
    const bool choice =
        option.type == OptionType::kChoice || option.type == OptionType::kChoiceList;
    EXPECT_EQ(choice, !option.choices.empty()) << option.path;
  }
  EXPECT_GT(paths.size(), 50U);
  EXPECT_EQ(FindOption("no.such"), nullptr);
}

// One place in memory for each option of an object: a copied line that kept the accessor of another
// would make one option write the other's value.
template <class Object>
void ExpectDistinctPlaces(std::span<const Field<Object>> fields) {
  Object object;
  std::set<const void*> places;
  for (const Field<Object>& field : fields) {
    const void* place = std::visit(
        [](auto p) -> const void* {
          if constexpr (std::is_pointer_v<decltype(p)>) return p;
          return nullptr;
        },
        field.at(object));
    if (place == nullptr || place == static_cast<const void*>(&object)) continue;
    EXPECT_TRUE(places.insert(place).second) << field.option.path;
  }
}

TEST(Options, NoTwoOptions_ShareAPlace) {
  ExpectDistinctPlaces(ConfigFields());
  ExpectDistinctPlaces(UpstreamFields());
  ExpectDistinctPlaces(AccountFields());
  ExpectDistinctPlaces(PoolFields());
  ExpectDistinctPlaces(PackageFields());
  ExpectDistinctPlaces(WorkspaceFields());
  ExpectDistinctPlaces(ModelFields());
  ExpectDistinctPlaces(DowngradeFields());
  ExpectDistinctPlaces(PriceFields());
  ExpectDistinctPlaces(TierFields());
  ExpectDistinctPlaces(ImageFields());
  ExpectDistinctPlaces(KeyFields());
  ExpectDistinctPlaces(PayloadRuleFields());
  ExpectDistinctPlaces(PolicyFields());
  ExpectDistinctPlaces(WebhookFields());
}

// Each default, written as the page prints it, is read and changes nothing.
TEST(Options, EveryDefault_CanBeWritten) {
  for (const Option& option : Options()) {
    if (option.fallback.empty() || option.path.contains('[')) continue;
    const auto dot = option.path.find('.');
    const std::string value = "\"" + std::string(option.fallback) + "\"";
    const std::string text = dot == std::string_view::npos
                                 ? std::string(option.path) + ": " + value
                                 : std::string(option.path.substr(0, dot)) + ":\n  " +
                                       std::string(option.path.substr(dot + 1)) + ": " + value;
    const auto config = ParseConfig(
        text + "\nupstreams: [{name: a, kind: sandbox}]\nmodels: [{id: m}]\n", "t", nullptr);
    ASSERT_TRUE(config) << option.path << ": " << FormatConfigError(config.error().front());
    Config read = *config;
    Config plain;
    for (const Field<Config>& field : ConfigFields()) {
      EXPECT_EQ(FormatValue(field.option, field.at(read)),
                FormatValue(field.option, field.at(plain)))
          << option.path << " changed " << field.option.path;
    }
  }
}

TEST(OptionsReferenceMarkdown, HasEveryOptionInOneTableEach) {
  const std::string page = OptionsReferenceMarkdown();
  for (const Option& option : Options()) {
    EXPECT_TRUE(page.contains("| `" + std::string(option.path) + "` |")) << option.path;
  }
  std::set<std::string> headings;
  for (std::size_t at = page.find("\n## "); at != std::string::npos;
       at = page.find("\n## ", at + 1)) {
    EXPECT_TRUE(headings.insert(page.substr(at, page.find('\n', at + 1) - at)).second)
        << "a section is printed twice: the table is out of order";
  }
  EXPECT_TRUE(page.contains("| `limits.idle_deadline` | duration | `75s` | 100ms..24h | reload |"));
  EXPECT_TRUE(page.contains("| `workers` | whole number (threads) | `0` | 0..256 | restart |"));
}

TEST(ChoiceAt, WalksTheList) {
  EXPECT_EQ(ChoiceAt("a | b | c", 0), "a");
  EXPECT_EQ(ChoiceAt("a | b | c", 2), "c");
  EXPECT_EQ(ChoiceAt("a | b | c", 3), "");
  EXPECT_EQ(ChoiceAt("", 0), "");
}

}  // namespace
}  // namespace weir::config
