// What a receipt tells, that it can be checked without the gateway, and that nothing of it can be
// changed.
#include "server/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "policy/quote.h"
#include "store/canonical_json.h"

namespace weir::server {
namespace {

namespace json = boost::json;
using telemetry::ExchangeRecord;
using testing::Contains;
using testing::HasSubstr;

const store::ReceiptKey& Signer() {
  static const store::ReceiptKey key(Secret(std::string(32, 's')));
  return key;
}

identity::KeyRecord Owner() {
  identity::KeyRecord key;
  key.id = KeyId{{9, 10}};
  key.name = "alice";
  key.workspace = "acme";
  key.environment = "production";
  return key;
}

config::Price PriceServed() {
  return {.input = {2'500'000},
          .cached_input = {250'000},
          .cache_write = {2'500'000},
          .output = {15'000'001},
          .per_request = {7},
          .version = 3};
}

// 400 tokens in, 100 of them cached, 20 out: 750,000,000 + 25,000,000 + 300,000,000 pUSD.
ExchangeRecord Served() {
  ExchangeRecord record;
  record.request = RequestId{MakeId({1'700'000'000'123'456'789}, 7, 8)};
  record.key = Owner().id;
  record.started_at = {1'700'000'000'123'456'789};
  record.ending = EndingKind::kServed;
  record.status = 200;
  record.operation = "responses";
  record.model = "gpt-5.5";
  record.model_charged = "gpt-5.4";
  record.model_served = "gpt-5.4-2026-01-01";
  record.upstream = "openai/the-operators";
  record.upstream_kind = "openai";
  record.attempts = 2;
  record.attempts_told = "openai/first 429 burst, openai/the-operators 200 served";
  record.changes = "model=gpt-5.5->gpt-5.4;simple, drop:temperature";
  record.sticky = "escaped";
  record.hang_up_rule = "abort_and_bill_observed";
  record.usage = {.input_tokens = 400,
                  .cached_input_tokens = 100,
                  .output_tokens = 20,
                  .source = UsageSource::kProvider};
  record.price = PriceBytes(PriceServed());
  record.charge = true;
  record.input_tokens_bound = 2000;
  record.output_tokens_bound = 100;
  record.held = {5'000'000 + 1'500'001 + 7};          // of 2000 x 2,500,000 + 100 x 15,000,001 pUSD
  record.charged = {750'000 + 25'000 + 300'001 + 7};  // rounded up
  record.hold_position = 41;
  record.settle_position = 44;
  record.requests = {100, 99};
  record.budget = NanoUsd{1'000'000'000};
  record.budget_remaining = {993'499'992};
  record.total = Milliseconds(1500);
  return record;
}

std::string Receipt(const ExchangeRecord& record, ReceiptView view = ReceiptView::kOwner) {
  const identity::KeyRecord owner = Owner();
  config::Config config;
  config.brand.name = "QuotaFlow";
  return MakeReceipt(record, &owner, config, view, Signer());
}

std::string FaultsOf(std::string_view text,
                     const std::optional<std::string>& key = Signer().public_key()) {
  std::string all;
  for (const std::string& fault : CheckReceipt(text, key).faults) all += fault + "\n";
  return all;
}

TEST(MakeReceipt, ExplainsTheChargeToTheNanoDollar) {
  const std::string text = Receipt(Served());
  EXPECT_EQ(FaultsOf(text), "");
  const json::value receipt = json::parse(text);
  const auto at = [&](std::string_view pointer) {
    boost::system::error_code none;
    const json::value* value = receipt.find_pointer(pointer, none);
    return value == nullptr ? "missing" : json::serialize(*value);
  };
  for (const auto& [pointer, want] : std::initializer_list<std::pair<const char*, const char*>>{
           {"/type", R"("weir.receipt/1")"},
           {"/issuer", R"("QuotaFlow")"},
           {"/key/name", R"("alice")"},
           {"/key/workspace", R"("acme")"},
           {"/model/asked", R"("gpt-5.5")"},
           {"/model/charged_as", R"("gpt-5.4")"},
           {"/model/reported", R"("gpt-5.4-2026-01-01")"},
           {"/upstream_kind", R"("openai")"},
           {"/attempts/count", "2"},
           {"/attempts/told/0", R"({"outcome":"burst","status":429})"},
           {"/attempts/told/1", R"({"outcome":"served","status":200})"},
           {"/changes", R"(["model=gpt-5.5->gpt-5.4;simple","drop:temperature"])"},
           {"/session", R"("escaped")"},
           {"/usage/cached_input_tokens", "100"},
           {"/usage/source", R"("provider")"},
           {"/price/version", "3"},
           {"/price/output_pico_usd", R"("15000001")"},
           {"/hold/input_tokens_bound", "2000"},
           {"/hold/output_tokens_granted", "null"},
           {"/charge/held_nano_usd", R"("6500008")"},
           {"/charge/exact_pico_usd", R"("1075007020")"},
           {"/charge/price_nano_usd", R"("1075008")"},
           {"/charge/charged_nano_usd", R"("1075008")"},
           {"/charge/overrun_nano_usd", R"("0")"},
           {"/ledger/hold_position", "41"},
           {"/ledger/settle_position", "44"},
           {"/hang_up/rule", R"("abort_and_bill_observed")"},
           {"/hang_up/applied", "false"},
           {"/limits/requests_per_minute/remaining", "99"},
           {"/limits/tokens_per_minute", "null"},
           {"/limits/budget/remaining_nano_usd", R"("993499992")"},
           {"/time/started_at", R"("2023-11-14T22:13:20.123456Z")"},
           {"/refusal", "null"},
           {"/sandbox", "false"},
       }) {
    EXPECT_EQ(at(pointer), want) << pointer;
  }
}

TEST(MakeReceipt, SaysWhoseItWasAndWhatPoliciesSaid) {
  ExchangeRecord record = Served();
  record.attributes.Add(config::Dimension::kKey, "alice");
  record.attributes.Add(config::Dimension::kTeam, "growth");
  record.attributes.Add(config::Dimension::kProvider, "the-operators");
  record.action = "ticket-7";
  record.policy_degraded = "premium-month";
  record.policies_shadow = "a, b";
  const std::string text = Receipt(record);
  EXPECT_EQ(FaultsOf(text), "");
  EXPECT_THAT(text, HasSubstr(R"("action":"ticket-7","attempts")"));
  EXPECT_THAT(text, HasSubstr(R"("attributes":{"team":"growth"})"));
  EXPECT_THAT(text, HasSubstr(R"("policies":{"degraded_by":"premium-month","refused_by":null,)"
                              R"("shadow":["a","b"]})"));
  EXPECT_THAT(text, HasSubstr("The quota policy premium-month sent it to another model"));
  EXPECT_FALSE(text.contains("the-operators"));
}

TEST(MakeReceipt, TheOperatorsAccounts_AreTheOperators) {
  EXPECT_FALSE(Receipt(Served()).contains("the-operators"));
  EXPECT_FALSE(Receipt(Served()).contains("openai/first"));
  const std::string text = Receipt(Served(), ReceiptView::kOperator);
  EXPECT_THAT(text, HasSubstr(R"("account":"openai/the-operators")"));
  EXPECT_THAT(text, HasSubstr(R"({"account":"openai/first","outcome":"burst","status":429})"));
  EXPECT_EQ(FaultsOf(text), "");
}

TEST(MakeReceipt, EveryKindOfEnding_HasOneThatHolds) {
  ExchangeRecord over = Served();  // it used more than any bound
  over.usage.output_tokens = 500;
  const NanoUsd cost{750'000 + 25'000 + 7'500'001 + 7};
  over.charged = over.held;
  over.overrun = cost - over.held;
  EXPECT_EQ(FaultsOf(Receipt(over)), "");
  EXPECT_THAT(Receipt(over), HasSubstr("which the operator bears"));

  ExchangeRecord gone = Served();
  gone.ending = EndingKind::kCallerGone;
  gone.status = 200;
  gone.usage.source = UsageSource::kCheckpoint;
  EXPECT_EQ(FaultsOf(Receipt(gone)), "");
  EXPECT_THAT(Receipt(gone),
              HasSubstr(R"("hang_up":{"applied":true,"rule":"abort_and_bill_observed"})"));

  gone.hang_up_rule = "abort_and_void";
  gone.charge = false;
  gone.charged = {};
  EXPECT_EQ(FaultsOf(Receipt(gone)), "");
  EXPECT_THAT(Receipt(gone), HasSubstr("the rule abort_and_void decided"));

  ExchangeRecord refused;  // before it was known who asks for what
  refused.request = Served().request;
  refused.key = Owner().id;
  refused.ending = EndingKind::kRefused;
  refused.refusal = Refusal::kRateLimitRequests;
  refused.status = 429;
  EXPECT_EQ(FaultsOf(Receipt(refused)), "");
  EXPECT_THAT(Receipt(refused), HasSubstr(R"("code":"rate_limit_exceeded")"));
  EXPECT_THAT(Receipt(refused), HasSubstr(R"("ledger":null)"));

  ExchangeRecord old = Served();  // a row from before prices were kept
  old.price = {};
  old.hold_position = old.settle_position = 0;
  old.hang_up_rule = {};
  EXPECT_EQ(FaultsOf(Receipt(old)), "");
  EXPECT_THAT(Receipt(old), HasSubstr(R"("price":null)"));
}

// (400 + 20) x 3 of a wallet that held (2000 + 100) x 3.
ExchangeRecord FromAWallet() {
  ExchangeRecord record = Served();
  record.wallet = {.unit = "quota_token",
                   .multiplier_ppm = 3'000'000,
                   .held = 6300,
                   .charged = 1260,
                   .overrun = 0,
                   .left = 98'740};
  return record;
}

TEST(MakeReceipt, OfAWallet_FollowsFromUsageAndMultiplier) {
  const std::string text = Receipt(FromAWallet());
  EXPECT_EQ(FaultsOf(text), "");
  EXPECT_THAT(text, HasSubstr(R"("wallet":{"charged":"1260","held":"6300","left":"98740",)"
                              R"("multiplier":"x3","multiplier_ppm":3000000,"overrun":"0",)"
                              R"("unit":"quota_token"})"));
  EXPECT_THAT(text, HasSubstr("The wallet paid 1260 quota tokens of the 6300"));
  EXPECT_THAT(Receipt(Served()), HasSubstr(R"("wallet":null)"));

  ExchangeRecord more = FromAWallet();  // than its multiplier makes of it
  more.wallet->charged = 1261;
  EXPECT_EQ(FaultsOf(Receipt(more)), "wallet.charged is 1261, not 1260\n");
  more = FromAWallet();
  more.wallet->held = 6301;
  EXPECT_EQ(FaultsOf(Receipt(more)), "wallet.held is 6301, not 6300\n");
  more = FromAWallet();
  more.wallet->multiplier_ppm = 4'000'000;
  EXPECT_THAT(FaultsOf(Receipt(more)), HasSubstr("wallet.charged is 1260, not 1680"));

  ExchangeRecord grew = FromAWallet();  // a hold that ended before its bound
  grew.adaptive = true;
  grew.wallet->held = 3000;
  grew.held = NanoUsd{2'000'000};
  EXPECT_EQ(FaultsOf(Receipt(grew)), "");
  grew.wallet->held = 1000;
  EXPECT_THAT(FaultsOf(Receipt(grew)), HasSubstr("wallet.charged is 1260, not 1000"));
}

TEST(MakeReceipt, TheWholePrice_IsThere) {
  ExchangeRecord record = Served();
  config::Price price = PriceServed();
  price.tool_call = {1000};
  price.input_audio = {5'000'000};
  config::TokenRates dear = config::BaseRates(price);
  dear.input = {9'000'000};
  dear.input_audio = {9'000'000};
  price.tiers = {{300, dear}};
  record.price = PriceBytes(price);
  record.usage.input_audio_tokens = 50;
  record.usage.tool_calls = 2;
  record.tool_calls_bound = 5;
  record.held = policy::HoldOf(price, {.input = 2000, .output = 100, .tool_calls = 5});
  record.charged = std::min(record.held, policy::PriceOf(price, record.usage));
  record.overrun = policy::PriceOf(price, record.usage) - record.charged;
  const std::string text = Receipt(record);
  EXPECT_EQ(FaultsOf(text), "");
  EXPECT_THAT(text, HasSubstr(R"("tool_calls":2)"));
  // The rates that are shown are not the whole of it, so another whole is noticed, too.
  const auto at = text.find(R"("encoded":")") + 11;
  std::string changed = text;
  changed.replace(at, text.find('"', at) - at, "01");
  EXPECT_THAT(FaultsOf(changed), HasSubstr("price.encoded"));
}

TEST(MakeReceipt, WhatAnUpstreamMadeUp_StaysInRange) {
  ExchangeRecord record = Served();
  record.usage = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, UsageSource::kProvider,
                  INT64_MAX};
  record.model = "\xFF\"\n";
  record.attempts_told = "nonsense, a b, , x y z w";
  record.total = {INT64_MAX / 4};
  record.charged = record.held;
  record.overrun = policy::PriceOf(PriceServed(), record.usage) - record.held;
  EXPECT_EQ(FaultsOf(Receipt(record)), "");
}

TEST(CheckReceipt, ReformattedIsTheSame) {
  std::string pretty;
  bool quoted = false;
  for (const char c : Receipt(Served())) {
    if (c == '"') quoted = !quoted;  // it has no escaped ones
    pretty += c;
    if (!quoted && (c == ',' || c == '{')) pretty += "\n  ";
  }
  EXPECT_EQ(FaultsOf(pretty), "");
}

TEST(CheckReceipt, AnyByteChanged_IsFound) {
  const std::string text = Receipt(Served());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    // Another digit, letter or sign, so that most of what comes out is still JSON.
    changed[i] = changed[i] == '1' ? '2' : changed[i] == 'a' ? 'b' : static_cast<char>(text[i] ^ 1);
    // A '[' for a space and the like may only move blanks about; a hex digit has two cases.
    const auto canonical = store::Canonicalised(changed);
    if (canonical && *canonical == text) continue;
    EXPECT_NE(FaultsOf(changed), "") << i << ": " << changed.substr(i > 20 ? i - 20 : 0, 40);
  }
}

TEST(CheckReceipt, SaysWhatIsWrong) {
  const std::string text = Receipt(Served());
  const auto with = [&](std::string_view old, std::string_view now) {
    std::string changed = text;
    const auto at = changed.find(old);
    EXPECT_NE(at, std::string::npos) << old;
    return changed.replace(at, old.size(), now);
  };
  EXPECT_EQ(FaultsOf(with(R"("charged_nano_usd":"1075008")", R"("charged_nano_usd":"1075007")")),
            "the signature does not fit: it was changed, or signed by another key\n"
            "charge.charged_nano_usd is 1075007, not 1075008\n");
  EXPECT_THAT(FaultsOf(with(R"("output_tokens":20)", R"("output_tokens":19)")),
              HasSubstr("charge.exact_pico_usd is 1075007020, not 1060007019"));
  EXPECT_THAT(FaultsOf(with(R"("held_nano_usd":"6500008")", R"("held_nano_usd":"7")")),
              HasSubstr("more than the 7 that were held"));
  EXPECT_THAT(FaultsOf(with(R"("held_nano_usd":"6500008")", R"("held_nano_usd":"-9")")),
              HasSubstr("charge.held_nano_usd is missing or no amount"));
  EXPECT_THAT(FaultsOf(with("weir.receipt/1", "weir.receipt/2")), HasSubstr("its type is"));
  EXPECT_THAT(FaultsOf(with("\"sandbox\":false", "\"sandbox\":true,\"sandbox\":false")),
              HasSubstr("a member is there twice"));
  EXPECT_EQ(FaultsOf(""), "it is not JSON: incomplete JSON\n");
  EXPECT_EQ(FaultsOf("{}"), "its type is \"\", not \"weir.receipt/1\"\n");
  EXPECT_EQ(FaultsOf(std::string(kReceiptBytesMax + 1, ' ')), "it is too large to be a receipt\n");
}

TEST(CheckReceipt, WithoutAKey_OnlyTheOneItNamesIsAsked) {
  const std::string text = Receipt(Served());
  EXPECT_EQ(FaultsOf(text, std::nullopt), "");
  const store::ReceiptKey other(Secret(std::string(32, 'o')));
  EXPECT_EQ(FaultsOf(text, other.public_key()),
            "it says it is signed by " + Signer().public_key() +
                ", not by the key given\n"
                "the signature does not fit: it was changed, or signed by another key\n");
  const identity::KeyRecord owner = Owner();
  EXPECT_NE(FaultsOf(MakeReceipt(Served(), &owner, {}, ReceiptView::kOwner, other)), "");
}

}  // namespace
}  // namespace weir::server
