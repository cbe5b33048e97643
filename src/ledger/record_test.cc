// The frozen format: bytes written down once and compared for ever, round trips, and bytes from
// anybody.
#include "ledger/record.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace weir::ledger {
namespace {

const PinnedPrice kPrice{3, {2'500'000}, {250'000}, {3'125'000}, {10'000'000}, {0}};
const Usage kUsage{1200, 1000, 0, 300, 128, UsageSource::kProvider};
const RequestId kRequest{{0x0192'0000'0000'0001, 0xAABB'CCDD'EEFF'0011}};
const KeyId kKey{{0x0191'0000'0000'0002, 0x1122'3344'5566'7788}};

const WalletId kWallet{{0x0190'0000'0000'0003, 0x0102'0304'0506'0708}};
const GrantId kGrant{{0x0190'0000'0000'0004, 0x1112'1314'1516'1718}};
constexpr std::uint64_t kPriceId = 0x00f3'a1b2'c3d4'e5f6;

Usage AllFigures() {
  Usage usage;
  usage.source = UsageSource::kEstimated;
  std::int64_t value = 1;
  for (std::int64_t Usage::* const figure : kUsageFigure) usage.*figure = value *= 7;
  usage.image_kind = 3;
  return usage;
}

std::vector<Record> Everything() {
  const WalletHold hold{
      kWallet, Unit::kQuotaToken, 3'000'000, {{kGrant, {5}}, {{{9, 9}}, kMaxAmount}}};
  return {
      PriceRecord{{1}, kPriceId, {1, 2, 3}},
      IntentRecord{.time = {1'700'000'000'000'000'000},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .hold = {15'000'000},
                   .input_tokens_bound = 4800,
                   .output_tokens_bound = 1500},
      IntentRecord{.time = {2},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .hold = {15'000'000},
                   .input_tokens_bound = 4800,
                   .output_tokens_bound = 1500,
                   .wallet = hold,
                   .idempotency = IdempotencyUse{{1, 2}, {3, 4}}},
      CheckpointRecord{.time = {1'700'000'000'500'000'000}, .request = kRequest, .usage = kUsage},
      SettleRecord{.time = {-1},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .charged = {3'750'000},
                   .overrun = {7},
                   .cause = ResolveCause::kRecovery,
                   .usage = AllFigures()},
      SettleRecord{.time = {4},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .charged = {3'750'000},
                   .overrun = {},
                   .usage = kUsage,
                   .wallet = WalletCharge{{15'600}, {1}}},
      VoidRecord{.time = {INT64_MAX},
                 .request = kRequest,
                 .key = kKey,
                 .released = kMaxNanoUsd,
                 .usage = {}},
      FundRecord{{0}, kKey, {-5'000'000'000}, true, 4'000'000'000},
      FundRecord{{0}, kKey, {12}, false, 0},
      GrantRecord{.time = {5},
                  .grant = kGrant,
                  .wallet = kWallet,
                  .unit = Unit::kNanoUsd,
                  .amount = {1'000'000},
                  .priority = -7,
                  .effective_at = {6},
                  .category = GrantCategory::kPlan},
      GrantEndRecord{{7}, kGrant, {400}, GrantEndReason::kRevoked},
      ExtendRecord{{8}, kRequest, {1'000}, 1024, hold},
      ExtendRecord{{9}, kRequest, {1'000}, 1024, {}},
  };
}

// What versions 1 and 2 wrote.
struct Old {
  const char* bytes;
  Record record;
};

std::vector<Old> OldRecords() {
  PinnedPrice audio_price = kPrice;
  audio_price.audio_second = {100'000};
  Usage audio = kUsage;
  audio.audio_ms = 8'470;
  return {
      {"4500010100002a36fe9c971701000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade20400c0c39307c025dc0b",
       IntentRecord{
           {1'700'000'000'000'000'000}, kRequest, kKey, kPrice, 0, {15'000'000}, 4800, 1500}},
      {"470001020065f753fe9c971701000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade2040001b009e80700ac028001",
       CheckpointRecord{{1'700'000'000'500'000'000}, kRequest, kKey, kPrice, kUsage}},
      {"4d000103ffffffffffffffff01000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade20400f0f0e401070101b009e80700ac028001",
       SettleRecord{
           {-1}, kRequest, kKey, kPrice, 0, {3'750'000}, {7}, ResolveCause::kRecovery, kUsage}},
      {"4d000104ffffffffffffff7f01000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade20400ffffffffffffffff1f00000000000000",
       VoidRecord{{INT64_MAX}, kRequest, kKey, kPrice, kMaxNanoUsd, ResolveCause::kSettled, {}}},
      {"48000201010000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade20400a08d06c0c39307c025dc0b",
       IntentRecord{{1}, kRequest, kKey, audio_price, 0, {15'000'000}, 4800, 1500}},
      {"4a000202020000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade204000001b009e80700ac0280019642",
       CheckpointRecord{{2}, kRequest, kKey, kPrice, audio}},
      {"52000203030000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
       "4433221103a0cb980190a10f88debe0180ade20400a08d06f0f0e401070001b009e80700ac0280019642",
       SettleRecord{
           {3}, kRequest, kKey, audio_price, 0, {3'750'000}, {7}, ResolveCause::kSettled, audio}},
  };
}

std::vector<std::uint8_t> FromHex(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  }
  return bytes;
}

std::string Hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST(Record, EveryKind_ReadsBackAsWritten_OneBehindTheOther) {
  RecordBuffer buffer;
  for (const Record& record : Everything()) Encode(record, buffer);
  EXPECT_EQ(buffer.count, Everything().size());
  std::span<const std::uint8_t> bytes = buffer.bytes;
  for (const Record& record : Everything()) {
    const auto decoded = Decode(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, record);
  }
  EXPECT_TRUE(bytes.empty());
}

// Journals hold these bytes. If this fails, the program cannot read what it wrote before: make a
// new version instead.
TEST(Record, VersionThree_IsFrozen) {
  const char* const frozen[] = {
      "170003060100000000000000f6e5d4c3b2a1f300010203",
      "3d00030100002a36fe9c971701000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300c0c39307c025dc0b00",
      "9d000301020000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300c0c39307c025dc0b030300000000009001080706050403020101c08d"
      "b70102040000000000900118171615141312110509000000000000000900000000000000ffffffff"
      "ffffffff1f0100000000000000020000000000000003000000000000000400000000000000",
      "260003020065f753fe9c971701000000000092011100ffeeddccbbaa011bb009e807ac028001",
      "65000303ffffffffffffffff01000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300f0f0e401070102ff3f0731d702e112a78301919707f7a132c1eddf02"
      "c7fe9e13f1f5d8860197b9eeae07a19085c8330300",
      "48000303040000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300f0f0e4010000011bb009e807ac02800101f07901",
      "38000304ffffffffffffff7f01000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211ffffffffffffffff1f000000",
      "27000105000000000000000002000000000091018877665544332211ffc7afa0250180d0acf30e",
      "1f000105000000000000000002000000000091018877665544332211180000",
      "42000307050000000000000004000000000090011817161514131211030000000000900108070605"
      "0403020100c0843d0d0600000000000000ffffffffffffff7f02",
      "1f000308070000000000000004000000000090011817161514131211900301",
      "61000309080000000000000001000000000092011100ffeeddccbbaae80780080103000000000090"
      "01080706050403020101c08db7010204000000000090011817161514131211050900000000000000"
      "0900000000000000ffffffffffffffff1f",
      "21000309090000000000000001000000000092011100ffeeddccbbaae807800800",
  };
  const auto records = Everything();
  ASSERT_EQ(std::size(frozen), records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    RecordBuffer buffer;
    Encode(records[i], buffer);
    EXPECT_EQ(Hex(buffer.bytes), frozen[i]) << i;
  }
}

TEST(Record, VersionsOneAndTwo_AreStillRead) {
  for (const Old& old : OldRecords()) {
    const auto held = FromHex(old.bytes);
    std::span<const std::uint8_t> bytes = held;
    const auto decoded = Decode(bytes);
    ASSERT_TRUE(decoded) << old.bytes;
    EXPECT_EQ(*decoded, old.record) << old.bytes;
    EXPECT_TRUE(bytes.empty());
  }
}

TEST(Record, OldVersionWithTheOthersFigures_IsMalformed) {
  for (const Old& old : OldRecords()) {
    auto held = FromHex(old.bytes);
    held[2] = held[2] == 1 ? 2 : 1;
    std::span<const std::uint8_t> bytes = held;
    EXPECT_FALSE(Decode(bytes)) << old.bytes;
  }
}

TEST(Record, LongestHoldAndLongestPrice_FitARecord) {
  IntentRecord intent{.time = {1}, .request = kRequest, .key = kKey, .price_id = kPriceId};
  intent.hold = kMaxNanoUsd;
  intent.input_tokens_bound = intent.output_tokens_bound = INT64_MAX;
  intent.wallet = WalletHold{.wallet = kWallet, .multiplier_ppm = INT64_MAX};
  intent.wallet->lines.assign(kHoldLinesMax, {kGrant, kMaxAmount});
  intent.idempotency = IdempotencyUse{{1, 2}, {3, 4}};
  PriceRecord price{.time = {1}, .id = 1, .bytes = {}};
  price.bytes.assign(kPriceRecordBytesMax, 7);
  for (const Record& record : {Record(intent), Record(price)}) {
    RecordBuffer buffer;
    Encode(record, buffer);
    std::span<const std::uint8_t> bytes = buffer.bytes;
    const auto decoded = Decode(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, record);
  }
}

TEST(Record, CutAnywhere_IsTruncated_AndTakesNothing) {
  for (const Record& record : Everything()) {
    RecordBuffer buffer;
    Encode(record, buffer);
    for (std::size_t size = 0; size < buffer.bytes.size(); ++size) {
      std::span<const std::uint8_t> bytes(buffer.bytes.data(), size);
      const auto decoded = Decode(bytes);
      ASSERT_FALSE(decoded);
      EXPECT_EQ(decoded.error(), DecodeFault::kTruncated);
      EXPECT_EQ(bytes.size(), size);
    }
  }
}

struct Damage {
  const char* what;
  std::size_t at;
  std::uint8_t value;
  DecodeFault fault;
};

TEST(Record, DamagedFields_AreNamed) {
  RecordBuffer fund;
  Encode(FundRecord{{0}, kKey, {12}, false, 0}, fund);  // 12 head, 16 key, amount, capped, leg
  ASSERT_EQ(fund.bytes.size(), 31U);
  const Damage damages[] = {
      {"a newer version", 2, 4, DecodeFault::kUnknownVersion},
      {"a kind of an older version", 2, 3, DecodeFault::kUnknownKind},
      {"kind zero", 3, 0, DecodeFault::kUnknownKind},
      {"a kind after the last", 3, 6, DecodeFault::kUnknownKind},
      {"a length shorter than the head", 0, 11, DecodeFault::kMalformed},
      {"a length that ends in a field", 0, 30, DecodeFault::kMalformed},
      {"a length beyond the bytes", 0, 32, DecodeFault::kTruncated},
      {"a length beyond every record", 1, 0x40, DecodeFault::kMalformed},
      {"capped that is neither 0 nor 1", 29, 2, DecodeFault::kMalformed},
      {"a number that goes on past the end", 30, 0x80, DecodeFault::kMalformed},
      {"an amount whose number swallows what follows", 28, 0x80, DecodeFault::kMalformed},
  };
  for (const Damage& damage : damages) {
    auto copy = fund.bytes;
    copy[damage.at] = damage.value;
    std::span<const std::uint8_t> bytes = copy;
    const auto decoded = Decode(bytes);
    ASSERT_FALSE(decoded) << damage.what;
    EXPECT_EQ(Name(decoded.error()), Name(damage.fault)) << damage.what;
  }
}

TEST(Record, NumberOf65Bits_IsMalformed) {
  RecordBuffer fund;
  Encode(FundRecord{{0}, kKey, {INT64_MIN}, true, 0}, fund);  // the amount takes ten bytes from 28
  ASSERT_EQ(fund.bytes[37], 1);
  std::span<const std::uint8_t> bytes = fund.bytes;
  ASSERT_TRUE(Decode(bytes));
  fund.bytes[37] = 3;
  bytes = fund.bytes;
  EXPECT_EQ(Decode(bytes).error(), DecodeFault::kMalformed);
}

// Whatever Decode accepts, Encode writes the same bytes for: there is one form of every record, and
// no bytes make it read out of bounds (the sanitizers watch).
TEST(Record, RandomDamage_IsRefusedOrTheOnlyFormOfItsRecord) {
  SeededRandom random(7);
  RecordBuffer all;
  for (const Record& record : Everything()) Encode(record, all);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto copy = all.bytes;
    for (std::uint64_t i = 0; i <= random.Next() % 3; ++i) {
      copy[random.Next() % copy.size()] = static_cast<std::uint8_t>(random.Next());
    }
    std::span<const std::uint8_t> bytes = copy;
    while (!bytes.empty()) {
      const auto before = bytes;
      const auto decoded = Decode(bytes);
      if (!decoded) break;
      ++accepted;
      if (before[2] != 3 && !std::holds_alternative<FundRecord>(*decoded)) continue;
      RecordBuffer again;
      Encode(*decoded, again);
      ASSERT_EQ(Hex(again.bytes), Hex(before.first(before.size() - bytes.size())));
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace weir::ledger
