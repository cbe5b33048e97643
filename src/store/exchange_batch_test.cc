// What is encoded is decoded, over the edges of every field; what was never encoded is refused.
#include "store/exchange_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "config/price_codec.h"

namespace weir::store {
namespace {

using config::Dimension;
using telemetry::ExchangeRecord;

void ExpectSame(const ExchangeRecord& is, const ExchangeRecord& want) {
  EXPECT_EQ(is.request, want.request);
  EXPECT_EQ(is.key, want.key);
  EXPECT_EQ(is.started_at.ns, want.started_at.ns / 1000 * 1000);
  EXPECT_EQ(is.ending, want.ending);
  EXPECT_EQ(is.refusal, want.refusal);
  EXPECT_EQ(is.status, want.status);
  EXPECT_EQ(is.operation, want.operation);
  EXPECT_EQ(is.model, want.model);
  EXPECT_EQ(is.model_served, want.model_served);
  EXPECT_EQ(is.upstream, want.upstream);
  EXPECT_EQ(is.attempts, want.attempts);
  EXPECT_EQ(is.stream, want.stream);
  EXPECT_EQ(is.sandbox, want.sandbox);
  EXPECT_EQ(is.usage, want.usage);
  EXPECT_EQ(is.held, want.held);
  EXPECT_EQ(is.charged, want.charged);
  EXPECT_EQ(is.overrun, want.overrun);
  EXPECT_EQ(is.total.ns, want.total.ns / 1000 * 1000);
  EXPECT_EQ(is.upstream_time.ns, want.upstream_time.ns / 1000 * 1000);
  EXPECT_EQ(is.first_byte.ns, want.first_byte.ns / 1000 * 1000);
  EXPECT_EQ(is.durable_time.ns, want.durable_time.ns / 1000 * 1000);
  EXPECT_EQ(is.queue_time.ns, want.queue_time.ns / 1000 * 1000);
  EXPECT_EQ(is.sticky, want.sticky);
  EXPECT_EQ(is.changes, want.changes);
  EXPECT_EQ(is.model_charged, want.model_charged);
  EXPECT_EQ(is.attempts_told, want.attempts_told);
  EXPECT_EQ(is.upstream_kind, want.upstream_kind);
  EXPECT_EQ(is.hang_up_rule, want.hang_up_rule);
  EXPECT_EQ(is.price, want.price);
  EXPECT_EQ(is.charge, want.charge);
  EXPECT_EQ(is.wallet, want.wallet);
  EXPECT_EQ(is.adaptive, want.adaptive);
  EXPECT_EQ(is.input_tokens_bound, want.input_tokens_bound);
  EXPECT_EQ(is.output_tokens_bound, want.output_tokens_bound);
  EXPECT_EQ(is.audio_ms_bound, want.audio_ms_bound);
  EXPECT_EQ(is.tool_calls_bound, want.tool_calls_bound);
  EXPECT_EQ(is.output_tokens_granted, want.output_tokens_granted);
  EXPECT_EQ(is.hold_position, want.hold_position);
  EXPECT_EQ(is.settle_position, want.settle_position);
  EXPECT_EQ(is.queue_position, want.queue_position);
  EXPECT_EQ(is.requests, want.requests);
  EXPECT_EQ(is.tokens, want.tokens);
  EXPECT_EQ(is.budget, want.budget);
  EXPECT_EQ(is.budget_remaining, want.budget_remaining);
  EXPECT_EQ(is.attributes, want.attributes);
  EXPECT_EQ(is.action, want.action);
  EXPECT_EQ(is.policy_refused, want.policy_refused);
  EXPECT_EQ(is.policy_degraded, want.policy_degraded);
  EXPECT_EQ(is.policies_shadow, want.policies_shadow);
  EXPECT_EQ(is.output_tokens_asked, want.output_tokens_asked);
  EXPECT_EQ(is.output_choices, want.output_choices);
  EXPECT_EQ(is.output_tokens_useful, want.output_tokens_useful);
  EXPECT_EQ(is.multiplier_ppm, want.multiplier_ppm);
  EXPECT_EQ(is.fallback_spend, want.fallback_spend);
}

void ExpectReadBack(const std::vector<ExchangeRecord>& records) {
  ExchangeBatch batch;
  for (const ExchangeRecord& record : records) batch.Append(record);
  EXPECT_EQ(batch.count(), records.size());
  ExchangeReader reader(batch.bytes());
  for (const ExchangeRecord& record : records) {
    ASSERT_TRUE(reader.Next());
    ExpectSame(reader.Record(), record);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.damaged());
}

telemetry::Attributes With(
    std::initializer_list<std::pair<Dimension, std::string_view>> attributes) {
  telemetry::Attributes packed;
  for (const auto& [dimension, value] : attributes) packed.Add(dimension, value);
  return packed;
}

ExchangeRecord Usual() {
  ExchangeRecord record;
  record.request = RequestId{MakeId({1'700'000'000'123'456'789}, 7, 8)};
  record.key = KeyId{{9, 10}};
  record.started_at = {1'700'000'000'123'456'789};
  record.status = 200;
  record.operation = "responses";
  record.model = "gpt-5.5";
  record.model_served = "gpt-5.5-2026-01-01";
  record.upstream = "openai";
  record.attempts = 1;
  record.usage = {.input_tokens = 400, .output_tokens = 20, .source = UsageSource::kProvider};
  record.held = {5'000'000};
  record.charged = {4'000'000};
  record.total = Milliseconds(1500);
  record.upstream_time = Milliseconds(1499);
  record.model_charged = "gpt-5.5";
  record.upstream_kind = "openai";
  record.hang_up_rule = "abort_and_bill_observed";
  record.price = "the bytes of a price";
  record.charge = true;
  record.input_tokens_bound = 2000;
  record.output_tokens_bound = 128'000;
  record.hold_position = 1'000'000;
  record.settle_position = 1'000'050;
  record.requests = {100, 99};
  record.attributes = With({{Dimension::kKey, "alice"},
                            {Dimension::kTeam, "growth"},
                            {Dimension::kUser, "ada"},
                            {Dimension::kEnvironment, "production"}});
  record.output_tokens_asked = 128'000;
  record.output_choices = 1;
  record.output_tokens_useful = 256;
  record.multiplier_ppm = 1'000'000;
  return record;
}

TEST(ExchangeBatch, EveryEdge_ReadsBack) {
  ExchangeRecord most = Usual();
  most.request = RequestId{{UINT64_MAX, UINT64_MAX}};
  most.started_at = {INT64_MAX};
  most.ending = EndingKind::kCut;
  most.refusal = Refusal::kUpstreamTimeout;
  most.status = INT32_MAX;
  most.attempts = INT32_MAX;
  most.stream = true;
  most.usage = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, UsageSource::kCheckpoint,
                INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
                INT64_MAX, 0};
  most.held = most.charged = most.overrun = {INT64_MAX};
  most.total = most.upstream_time = most.first_byte = most.durable_time = {INT64_MAX};
  most.price = std::string(8192, '\xFF');
  most.wallet = {.unit = "quota_token",
                 .multiplier_ppm = INT64_MAX,
                 .held = INT64_MAX,
                 .charged = INT64_MIN,
                 .overrun = INT64_MAX,
                 .left = INT64_MIN};
  most.adaptive = true;
  most.sticky = "escaped";
  most.hang_up_rule = "drain_and_bill";
  most.upstream_kind = "gemini";
  most.hold_position = most.settle_position = UINT64_MAX;
  most.input_tokens_bound = most.output_tokens_bound = most.audio_ms_bound = INT64_MAX;
  most.tool_calls_bound = INT64_MAX;
  most.output_tokens_granted = most.queue_position = INT64_MAX;
  most.requests = most.tokens = {INT64_MAX, INT64_MIN};
  most.budget = most.budget_remaining = NanoUsd{INT64_MAX};
  most.queue_time = {INT64_MAX};
  most.changes = std::string(1024, 'c');
  most.attempts_told = "openai/a 429 burst, openai/b 200 served";
  most.attributes = {};
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    most.attributes.Add(static_cast<Dimension>(i), std::string(256, static_cast<char>('a' + i)));
  }
  most.action = std::string(128, '~');
  most.policy_refused = std::string(64, 'r');
  most.policy_degraded = std::string(65, 'd');
  most.policies_shadow = std::string(4096, 's');
  most.output_tokens_asked = most.output_tokens_useful = most.multiplier_ppm = INT64_MAX;
  most.output_choices = INT64_MIN;
  most.fallback_spend = {INT64_MAX};
  ExchangeRecord least = Usual();
  least.budget = NanoUsd{0};  // a budget of nothing is not none
  least.wallet = {.unit = "nano_usd"};
  least.usage.image_kind = kDearestImage - 1;
  least.request = RequestId{{0, 1}};
  least.started_at = {INT64_MIN};
  least.status = INT32_MIN;
  least.sandbox = true;
  least.held = least.charged = {INT64_MIN};
  least.total = {INT64_MIN};
  ExpectReadBack({ExchangeRecord{}, most, least, ExchangeRecord{}, Usual(), most});
}

TEST(ExchangeBatch, Words_AreToldWhenTheyChange) {
  std::vector<ExchangeRecord> records(9, Usual());
  records[1].model = "";
  records[2].model = "other";
  records[3].key = {};
  records[4].key = KeyId{{1, 2}};
  records[5].model_served = std::string(64, 'x');       // the last that is short
  records[6].model_served = std::string(65, 'x');       // and the first that is not
  records[7].model = std::string(1000, '\0') + "\xFF";  // two long ones in one record
  records[7].model_served = std::string(5000, 'y');
  ExpectReadBack(records);
}

TEST(ExchangeBatch, Attributes_AreToldWhenTheyChange) {
  std::vector<ExchangeRecord> records(8, Usual());
  records[1].attributes = With({{Dimension::kKey, "alice"}, {Dimension::kTeam, "growth"}});
  records[2].attributes = {};
  records[3].attributes = With({{Dimension::kImageClass, "final"}});
  records[4].attributes = With({{Dimension::kKey, std::string(64, 'k')}});  // the last short one
  records[5].attributes = With({{Dimension::kKey, std::string(65, 'k')},
                                {Dimension::kTeam, std::string(200, 't')},
                                {Dimension::kUser, "x"}});
  records[6].attributes = records[5].attributes;
  ExpectReadBack(records);
  ExchangeBatch batch;
  for (const ExchangeRecord& record : records) batch.Append(record);
  ExchangeReader reader(batch.bytes());
  std::vector<std::uint32_t> changed;
  while (reader.Next()) changed.push_back(reader.attributes_changed());
  const std::uint32_t usual = BitOf(Dimension::kKey) | BitOf(Dimension::kTeam) |
                              BitOf(Dimension::kUser) | BitOf(Dimension::kEnvironment);
  EXPECT_EQ(
      changed,
      (std::vector<std::uint32_t>{
          usual, BitOf(Dimension::kUser) | BitOf(Dimension::kEnvironment),
          BitOf(Dimension::kKey) | BitOf(Dimension::kTeam), BitOf(Dimension::kImageClass),
          BitOf(Dimension::kImageClass) | BitOf(Dimension::kKey),
          BitOf(Dimension::kKey) | BitOf(Dimension::kTeam) | BitOf(Dimension::kUser), 0, usual}));
}

TEST(ExchangeBatch, AnotherUser_CostsNoMoreThanItsName) {
  ExchangeBatch batch;
  ExchangeRecord record = Usual();
  batch.Append(record);
  batch.Append(record);
  const std::size_t same = batch.bytes().size();
  batch.Append(record);
  const std::size_t before = batch.bytes().size();
  record.attributes = With({{Dimension::kKey, "alice"},
                            {Dimension::kTeam, "growth"},
                            {Dimension::kUser, "grace"},
                            {Dimension::kEnvironment, "production"}});
  batch.Append(record);
  EXPECT_EQ(batch.bytes().size() - before, before - same + 6) << "a length and the name";
}

TEST(ExchangeBatch, WhatIsAsBefore_CostsLittle) {
  ExchangeBatch batch;
  batch.Append(Usual());
  const std::size_t first = batch.bytes().size();
  batch.Append(Usual());
  EXPECT_LE(batch.bytes().size() - first, 115U);
}

TEST(ExchangeBatch, Cleared_StartsAnew) {
  ExchangeBatch batch;
  batch.Append(Usual());
  batch.Clear();
  EXPECT_EQ(batch.count(), 0U);
  batch.Append(Usual());
  ExchangeReader reader(batch.bytes());
  ASSERT_TRUE(reader.Next());
  ExpectSame(reader.Record(), Usual());
}

// The format is frozen: a file written by an earlier build must read the same.
TEST(ExchangeBatch, Version5_IsTheseBytes) {
  ExchangeRecord record;
  record.request = RequestId{{(5ULL << 16) | 1, 2}};
  record.started_at = {5'001'000};  // 5 ms and 1 us
  record.status = 200;
  record.operation = "op";
  record.stream = true;
  record.held = {-1};
  record.usage.audio_ms = 1;
  record.sticky = "away";
  record.hang_up_rule = "abort_and_void";
  record.upstream_kind = "anthropic";
  record.hold_position = 7;
  record.settle_position = 8;
  record.price = "p";
  record.usage.tool_calls = 2;
  record.tool_calls_bound = 3;
  record.usage.image_kind = 1;
  record.wallet = {
      .unit = "quota_token", .multiplier_ppm = 3, .held = 4, .charged = 5, .overrun = 6, .left = 7};
  record.action = "a";
  record.policy_refused = "r";
  record.policy_degraded = "d";
  record.policies_shadow = "s";
  record.output_tokens_asked = 8;
  record.output_choices = 9;
  record.output_tokens_useful = 10;
  record.multiplier_ppm = 11;
  record.fallback_spend = {12};
  record.attributes = With({{Dimension::kKey, "k"}, {Dimension::kImageClass, "final"}});
  ExchangeBatch batch;
  batch.Append(record);
  batch.Append(record);
  const std::vector<std::uint8_t> once = {
      0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,  // the id
      0, 3, 'o', 'p', 0, 0, 0, 0, 0, 0, 2, 'p',        // words
      2, 'a', 2, 'r', 2, 'd', 2, 's',                  // of policies
      2, 2, 0, 0x90, 3, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2,
      // sticky away, abort_and_void, anthropic; then the queue, the bounds, positions 7 and 8
      0xC4, 0xC, 0, 0, 0, 0, 0, 0, 14, 16, 0, 0, 0, 0, 0, 0,
      // three kinds of tokens, tool calls, images, video, the kind of image; the wallet
      0, 0, 0, 4, 0, 0, 4, 4, 6, 8, 10, 12, 14, 6,  // tool calls that were held for
      // what was asked for and the multiplier, what other attempts may have cost; the attributes
      16, 18, 20, 22, 24, 0x81, 0x80, 4, 1, 'k', 5, 'f', 'i', 'n', 'a', 'l'};
  std::vector<std::uint8_t> expected = {5};
  expected.insert(expected.end(), once.begin(), once.end());
  std::vector<std::uint8_t> again = once;
  again.resize(again.size() - 11);
  again.push_back(0);                          // the attributes are as before
  for (std::size_t i = 34; i >= 28; i -= 2) {  // so are the words of policies
    again[i] = 0;
    again.erase(again.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
  again[26] = 0;  // the price is as before
  again.erase(again.begin() + 27);
  again[17] = 0;  // and so is the operation
  again.erase(again.begin() + 18, again.begin() + 20);
  expected.insert(expected.end(), again.begin(), again.end());
  EXPECT_EQ(std::vector<std::uint8_t>(batch.bytes().begin(), batch.bytes().end()), expected);
}

// Written before the log kept what policies see.
TEST(ExchangeReader, Version4_IsRead) {
  const std::vector<std::uint8_t> once = {
      0, 0, 0,   0,    0,  5, 0, 1, 0, 0, 0, 0,   0, 0, 0, 2,  // the id
      0, 3, 'o', 'p',  0,  0, 0, 0, 0, 0, 2, 'p',              // words
      2, 2, 0,   0x90, 3,  0, 2, 0, 0, 0, 0, 0,   0, 1, 0, 0, 0, 0, 0, 0, 2, 0xC4, 0xC, 0,  0, 0,
      0, 0, 0,   14,   16, 0, 0, 0, 0, 0, 0, 0,   0, 0, 4, 0, 0, 4, 4, 6, 8, 10,   12,  14, 6};
  std::vector<std::uint8_t> bytes = {4};
  bytes.insert(bytes.end(), once.begin(), once.end());
  bytes.insert(bytes.end(), once.begin(), once.end());
  ExchangeReader reader(bytes);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader.Next());
    const ExchangeRecord record = reader.Record();
    EXPECT_EQ(record.operation, "op");
    EXPECT_EQ(record.price, "p");
    EXPECT_EQ(record.settle_position, 8U);
    EXPECT_EQ(record.tool_calls_bound, 3);
    EXPECT_EQ(record.usage.image_kind, 1U);
    ASSERT_TRUE(record.wallet);
    EXPECT_EQ(record.wallet->left, 7);
    EXPECT_TRUE(record.attributes.empty());
    EXPECT_EQ(record.policy_refused, "");
    EXPECT_EQ(record.output_choices, 0);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.damaged());
}

// Written before there were wallets: the rates of its price become a price.
TEST(ExchangeReader, Version3_IsRead) {
  const std::vector<std::uint8_t> once = {
      0,    0,   0,   0,    0,  5,  0,  1, 0,  0,  0, 0, 0, 0, 0, 2,  // the id
      0,    3,   'o', 'p',  0,  0,  0,  0, 0,  0,                     // words
      8,    2,   20,  4,    20, 40, 6,  0,  // version 1, rates 10, 2, 10, 20; 3 a request
      2,    2,   0,   0x90, 3,  0,  12, 0, 0,  0,  0, 0, 0, 1, 0, 0,
      0,    0,   0,   0,    2,  // flags: charge
      0xC4, 0xC, 0,   0,    0,  0,  0,  0, 14, 16, 0, 0, 0, 0, 0, 0};
  std::vector<std::uint8_t> bytes = {3};
  bytes.insert(bytes.end(), once.begin(), once.end());
  bytes.insert(bytes.end(), once.begin(), once.end());
  ExchangeReader reader(bytes);
  const config::Price price{.input = {10},
                            .cached_input = {2},
                            .cache_write = {10},
                            .output = {20},
                            .per_request = {3},
                            .version = 1};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader.Next());
    const ExchangeRecord record = reader.Record();
    EXPECT_EQ(record.operation, "op");
    EXPECT_EQ(config::DecodePrice({reinterpret_cast<const std::uint8_t*>(record.price.data()),
                                   record.price.size()}),
              price);
    EXPECT_EQ(record.settle_position, 8U);
    EXPECT_EQ(record.sticky, "away");
    EXPECT_EQ(record.wallet, std::nullopt);
    EXPECT_EQ(record.usage.image_kind, kDearestImage);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.damaged());
}

// Written before there were receipts: those have what was kept.
TEST(ExchangeReader, Version2_IsRead) {
  const std::vector<std::uint8_t> once = {
      0, 0, 0,   0,    0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,  // the id
      0, 3, 'o', 'p',  0, 0, 0,                             // words
      2, 2, 0,   0x90, 3, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2};
  std::vector<std::uint8_t> bytes = {2};
  bytes.insert(bytes.end(), once.begin(), once.end());
  bytes.insert(bytes.end(), once.begin(), once.end());
  ExchangeReader reader(bytes);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader.Next());
    const ExchangeRecord record = reader.Record();
    EXPECT_EQ(record.operation, "op");
    EXPECT_EQ(record.held, NanoUsd{-1});
    EXPECT_EQ(record.usage.audio_ms, 1);
    EXPECT_EQ(record.price, "");
    EXPECT_EQ(record.hang_up_rule, "");
    EXPECT_EQ(record.budget, std::nullopt);
    EXPECT_EQ(record.hold_position, 0U);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.damaged());
}

// Written before there was audio.
TEST(ExchangeReader, Version1_IsRead) {
  const std::vector<std::uint8_t> once = {
      0, 0, 0,   0,    0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,  // the id
      0, 3, 'o', 'p',  0, 0, 0,                             // words
      2, 2, 0,   0x90, 3, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  std::vector<std::uint8_t> bytes = {1};
  bytes.insert(bytes.end(), once.begin(), once.end());
  bytes.insert(bytes.end(), once.begin(), once.end());
  ExchangeReader reader(bytes);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader.Next());
    const ExchangeRecord record = reader.Record();
    EXPECT_EQ(record.operation, "op");
    EXPECT_EQ(record.status, 200);
    EXPECT_EQ(record.held, NanoUsd{-1});
    EXPECT_EQ(record.usage.audio_ms, 0);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.damaged());
}

TEST(ExchangeReader, CutAnywhere_IsDamagedOrShorter) {
  ExchangeBatch batch;
  batch.Append(Usual());
  const std::size_t first = batch.bytes().size();
  batch.Append(Usual());
  for (std::size_t size = 0; size < batch.bytes().size(); ++size) {
    ExchangeReader reader(batch.bytes().first(size));
    std::size_t count = 0;
    while (reader.Next()) ++count;
    EXPECT_EQ(count, size >= first ? 1U : 0U) << size;
    EXPECT_EQ(reader.damaged(), size != first && size != 1) << size;
  }
}

TEST(ExchangeReader, AnyBytes_AreSafe) {
  ExchangeBatch batch;
  for (int i = 0; i < 3; ++i) batch.Append(Usual());
  SeededRandom random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::uint8_t> bytes(batch.bytes().begin(), batch.bytes().end());
    for (std::uint64_t changes = 1 + random.Next() % 4; changes > 0; --changes) {
      bytes[1 + random.Next() % (bytes.size() - 1)] = static_cast<std::uint8_t>(random.Next());
    }
    ExchangeReader reader(bytes);
    while (reader.Next()) static_cast<void>(reader.Record());
  }
  EXPECT_TRUE(ExchangeReader(std::vector<std::uint8_t>{6}).damaged());  // of a newer program
}

TEST(SlotOf, LaterSlots_HaveLargerIds) {
  const RequestId last{MakeId({1023 * 1'000'000LL}, UINT64_MAX, UINT64_MAX)};
  const RequestId first{MakeId({1024 * 1'000'000LL}, 0, 0)};
  EXPECT_EQ(SlotOf(last), 0);
  EXPECT_EQ(SlotOf(first), 1);
  EXPECT_LT(last, first);
}

}  // namespace
}  // namespace weir::store
