// The table behind config/options.h: each option beside the place in Config it is kept in. Private
// to this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/options.h"

namespace weir::config {

// An amount of a policy: its limit, or what an approval may add at most. The unit is the policy's
// at the time of asking.
struct QuotaRef {
  QuotaUnit unit = QuotaUnit::kUsd;
  std::int64_t* steps = nullptr;  // one of the two
  std::optional<std::int64_t>* maybe = nullptr;
};

// Where the value of an option lives. Upstream* stands for its base_url, which is four fields;
// monostate for routes and for the members of pools and packages, which only mean something beside
// the lists they name, and for prices, which are tables of their own.
using ValueRef =
    std::variant<std::monostate, std::string*, Secret*, bool*, std::int32_t*, std::int64_t*,
                 std::uint32_t*, Duration*, NanoUsd*, std::optional<NanoUsd>*, PicoUsdPerUnit*,
                 std::optional<Instant>*, Listen*, std::vector<std::string>*, Durability*,
                 HangUpRule*, UpstreamKind*, AdaptProfile*, WalletKind*, HoldRule*, Multiplier*,
                 std::optional<HangUpRule>*, std::optional<Proxy>*, Upstream*,
                 std::optional<std::int64_t>*, std::vector<std::int64_t>*, std::vector<Attribute>*,
                 std::vector<Condition>*, std::vector<Dimension>*, std::shared_ptr<const Zone>*,
                 QuotaRef, QuotaUnit*, CapKind*, WindowKind*, PolicyAction*, ReviewCadence*>;

// One of keys[].payload_rules, as the file writes it.
struct PayloadRuleText {
  std::string path;
  std::string value;
};

template <class Object>
struct Field {
  Option option;
  ValueRef (*at)(Object& object);
};

std::span<const Field<Config>> ConfigFields();
std::span<const Field<Upstream>> UpstreamFields();
std::span<const Field<Account>> AccountFields();
std::span<const Field<Pool>> PoolFields();
std::span<const Field<Package>> PackageFields();
std::span<const Field<Workspace>> WorkspaceFields();
std::span<const Field<Model>> ModelFields();         // without its price and its downgrade
std::span<const Field<PriceVersion>> PriceFields();  // without its tiers and images
std::span<const Field<PriceTier>> TierFields();
std::span<const Field<ImagePrice>> ImageFields();
std::span<const Field<Downgrade>> DowngradeFields();
std::span<const Field<KeySpec>> KeyFields();  // without its payload rules
std::span<const Field<PayloadRuleText>> PayloadRuleFields();
std::span<const Field<Policy>> PolicyFields();
std::span<const Field<Webhook>> WebhookFields();

// "[reasoning.effort = "low", a.0 = 1]": the payload rules of a key, for a reader.
std::string FormatPayloadRules(std::span<const dialect::PayloadRule> rules);

// The value as it would be written in the file, in the shortest exact form. "***" for a secret that
// is set. Never used to compare secrets.
std::string FormatValue(const Option& option, const ValueRef& value);

// "1s..10m", "`process`, `power`", ...: what a value must lie within; empty when anything goes.
std::string FormatBounds(const Option& option);

// One name of a "a | b | c" list; empty when there are fewer.
std::string_view ChoiceAt(std::string_view choices, std::size_t index);

}  // namespace weir::config
