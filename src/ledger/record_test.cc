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
const Id128 kCounter{0x0190'0000'0000'0005, 0x2122'2324'2526'2728};
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

// Every kind that has a version 4, with and without what else it may have.
std::vector<Record> OfQuotas() {
  const WalletHold hold{
      kWallet, Unit::kQuotaToken, 3'000'000, {{kGrant, {5}}, {{{9, 9}}, kMaxAmount}}};
  const std::vector<QuotaLine> lines{{0, {1}}, {7, {6'300}}, {4'000'000'000, kMaxAmount}};
  const IntentRecord intent{
      .time = {10},
      .request = kRequest,
      .key = kKey,
      .price_id = kPriceId,
      .hold = {15'000'000},
      .input_tokens_bound = 4800,
      .output_tokens_bound = 1500,
      .quotas = QuotaHold{.multiplier_ppm = 3'000'000, .behind = {}, .lines = lines}};
  IntentRecord with_all = intent;
  with_all.time = {11};
  with_all.wallet = hold;
  with_all.idempotency = IdempotencyUse{{1, 2}, {3, 4}};
  with_all.quotas = QuotaHold{.behind = Seconds(3), .lines = {lines[0]}};
  return {
      intent,
      with_all,
      SettleRecord{.time = {12},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .charged = {3'750'000},
                   .overrun = {7},
                   .usage = kUsage,
                   .quotas = {{1}, {1'500}, {0}}},
      SettleRecord{.time = {13},
                   .request = kRequest,
                   .key = kKey,
                   .price_id = kPriceId,
                   .charged = {3'750'000},
                   .overrun = {},
                   .cause = ResolveCause::kRecovery,
                   .usage = kUsage,
                   .wallet = WalletCharge{{15'600}, {1}},
                   .quotas = {{1}}},
      VoidRecord{.time = {14},
                 .request = kRequest,
                 .key = kKey,
                 .released = {15'000'000},
                 .cause = ResolveCause::kRecovery,
                 .usage = {},
                 .quotas = {{0}, {2}}},
      ExtendRecord{{15}, kRequest, {1'000}, 1024, {}, {lines[1]}},
      ExtendRecord{{16}, kRequest, {1'000}, 1024, hold, lines, Duration{1}},
      CounterRecord{{17}, 7, kCounter, 3, 2, {}, "support-daily", "team=growth,user=ada"},
      CounterRecord{{18}, 4'000'000'000, kCounter, 19, 0, Seconds(1), "p", ""},
      WindowRecord{{19}, 7, {-86'400}, {INT64_MAX}, QuotaRule::kFirm, {500}},
      AlertRecord{{20}, 7, 90, {450}, {500}},
  };
}

// Of the versions that are written.
std::vector<Record> Written() {
  std::vector<Record> all = Everything();
  for (const Record& record : OfQuotas()) all.push_back(record);
  return all;
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
  for (const Record& record : Written()) Encode(record, buffer);
  EXPECT_EQ(buffer.count, Written().size());
  std::span<const std::uint8_t> bytes = buffer.bytes;
  for (const Record& record : Written()) {
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

TEST(Record, VersionFour_IsFrozen) {
  const char* const frozen[] = {
      "560004010a0000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300c0c39307c025dc0b04c08db70100030001079c3180d0acf30effffff"
      "ffffffffff1f",
      "a80004010b0000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300c0c39307c025dc0b070300000000009001080706050403020101c08d"
      "b70102040000000000900118171615141312110509000000000000000900000000000000ffffffff"
      "ffffffff1f0100000000000000020000000000000003000000000000000400000000000000c0843d"
      "80bcc1960b010001",
      "4a0004030c0000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300f0f0e4010700011bb009e807ac028001040301dc0b00",
      "4a0004030d0000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211f6e5d4c3b2a1f300f0f0e4010001011bb009e807ac02800105f079010101",
      "370004040e0000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "44332211c0c3930701000004020002",
      "260004090f0000000000000001000000000092011100ffeeddccbbaae8078008040001079c31",
      "76000409100000000000000001000000000092011100ffeeddccbbaae80780080503000000000090"
      "01080706050403020101c08db7010204000000000090011817161514131211050900000000000000"
      "0900000000000000ffffffffffffffff1f01030001079c3180d0acf30effffffffffffffff1f",
      "4300040a110000000000000007050000000000900128272625242322210302000d737570706f7274"
      "2d6461696c79147465616d3d67726f7774682c757365723d616461",
      "2b00040a120000000000000080d0acf30e0500000000009001282726252423222113008094ebdc03"
      "017000",
      "2000040b13000000000000000780aefeffffffffffffffffffffffff7f02f403",
      "1200040c1400000000000000075ac203f403",
  };
  const auto records = OfQuotas();
  ASSERT_EQ(std::size(frozen), records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    RecordBuffer buffer;
    Encode(records[i], buffer);
    EXPECT_EQ(Hex(buffer.bytes), frozen[i]) << i;
  }
}

// Journals without policies are those of before: a record has one form.
TEST(Record, WithoutWhatPoliciesCount_IsVersionThree) {
  IntentRecord intent = std::get<IntentRecord>(OfQuotas()[0]);
  intent.quotas->lines.clear();
  RecordBuffer buffer;
  Encode(intent, buffer);
  ASSERT_EQ(buffer.bytes[2], 3);
  intent.quotas.reset();
  std::span<const std::uint8_t> bytes = buffer.bytes;
  EXPECT_EQ(Decode(bytes).value(), Record(intent));
  for (const Record& record : Everything()) {
    RecordBuffer plain;
    Encode(record, plain);
    EXPECT_LT(plain.bytes[2], 4);
  }
}

// The version and what is in the record say the same, or it is none of ours.
TEST(Record, AnotherVersionThanItsContent_IsRefused) {
  for (const Record& record : OfQuotas()) {
    RecordBuffer buffer;
    Encode(record, buffer);
    ASSERT_EQ(buffer.bytes[2], 4);
    buffer.bytes[2] = 3;
    std::span<const std::uint8_t> bytes = buffer.bytes;
    const auto decoded = Decode(bytes);
    ASSERT_FALSE(decoded) << record.index();
    EXPECT_EQ(decoded.error(),
              buffer.bytes[3] >= 10 ? DecodeFault::kUnknownKind : DecodeFault::kMalformed)
        << record.index();
  }
  for (const Record& record : Everything()) {
    RecordBuffer buffer;
    Encode(record, buffer);
    const bool has_both = std::holds_alternative<IntentRecord>(record) ||
                          std::holds_alternative<SettleRecord>(record) ||
                          std::holds_alternative<VoidRecord>(record) ||
                          std::holds_alternative<ExtendRecord>(record);
    buffer.bytes[2] = 4;
    std::span<const std::uint8_t> bytes = buffer.bytes;
    const auto decoded = Decode(bytes);
    ASSERT_FALSE(decoded) << record.index();
    EXPECT_EQ(decoded.error(), has_both ? DecodeFault::kMalformed : DecodeFault::kUnknownKind)
        << record.index();
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

TEST(Record, TheLongestOfEachKind_FitsARecord) {
  IntentRecord intent{.time = {1}, .request = kRequest, .key = kKey, .price_id = kPriceId};
  intent.hold = kMaxNanoUsd;
  intent.input_tokens_bound = intent.output_tokens_bound = INT64_MAX;
  intent.wallet = WalletHold{.wallet = kWallet, .multiplier_ppm = INT64_MAX};
  intent.wallet->lines.assign(kHoldLinesMax, {kGrant, kMaxAmount});
  intent.idempotency = IdempotencyUse{{1, 2}, {3, 4}};
  intent.quotas = QuotaHold{.multiplier_ppm = INT64_MAX, .behind = {INT64_MAX}, .lines = {}};
  intent.quotas->lines.assign(kQuotaLinesMax, {UINT32_MAX, kMaxAmount});
  PriceRecord price{.time = {1}, .id = 1, .bytes = {}};
  price.bytes.assign(kPriceRecordBytesMax, 7);
  SettleRecord settle{.time = {1},
                      .request = kRequest,
                      .key = kKey,
                      .price_id = kPriceId,
                      .charged = kMaxNanoUsd,
                      .overrun = kMaxNanoUsd,
                      .usage = AllFigures(),
                      .wallet = WalletCharge{kMaxAmount, kMaxAmount}};
  for (std::int64_t Usage::* const figure : kUsageFigure) settle.usage.*figure = INT64_MAX;
  settle.quotas.assign(kQuotaLegsMax, kMaxAmount);
  VoidRecord released{.time = {1},
                      .request = kRequest,
                      .key = kKey,
                      .released = kMaxNanoUsd,
                      .usage = settle.usage};
  released.quotas = settle.quotas;
  ExtendRecord more{.time = {1},
                    .request = kRequest,
                    .hold = kMaxNanoUsd,
                    .output_tokens_bound = INT64_MAX,
                    .wallet = intent.wallet,
                    .quotas = intent.quotas->lines,
                    .quotas_behind = {INT64_MAX}};
  const CounterRecord counter{.time = {1},
                              .number = UINT32_MAX,
                              .counter = kCounter,
                              .unit = 255,
                              .window = 255,
                              .bucket = {INT64_MAX},
                              .policy = std::string(kCounterPolicyMax, 'p'),
                              .values = std::string(kCounterValuesMax, 'v')};
  for (const Record& record : {Record(intent), Record(price), Record(settle), Record(released),
                               Record(more), Record(counter)}) {
    RecordBuffer buffer;
    Encode(record, buffer);
    std::span<const std::uint8_t> bytes = buffer.bytes;
    const auto decoded = Decode(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, record);
  }
}

TEST(Record, CutAnywhere_IsTruncated_AndTakesNothing) {
  for (const Record& record : Written()) {
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
      {"a newer version", 2, 5, DecodeFault::kUnknownVersion},
      {"a version that has no such kind", 2, 4, DecodeFault::kUnknownKind},
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

TEST(Record, DamagedFieldsOfQuotas_AreNamed) {
  // Of the records of OfQuotas.
  enum Which { kIntent = 0, kSettle = 2, kVoid = 4, kNames = 7, kWindow = 9, kAlert = 10 };
  struct Row {
    const char* what;
    Which which;
    std::size_t at;
    std::uint8_t value;
    DecodeFault fault = DecodeFault::kMalformed;
  };
  // Places counted off the frozen bytes above.
  const Row rows[] = {
      {"no bit of quotas", kIntent, 60, 0},
      {"a bit that nothing has", kIntent, 60, 12},
      {"no lines", kIntent, 66, 0},
      {"a line more than there is", kIntent, 66, 4},
      {"a line less", kIntent, 66, 2},
      {"an amount above what an account takes", kIntent, 85, 0x3f},
      {"a number of 33 bits", kIntent, 76, 0x1f},
      {"a settlement with no bit of quotas", kSettle, 68, 0},
      {"no figures", kSettle, 69, 0},
      {"a figure more than there is", kSettle, 69, 4},
      {"a figure less", kSettle, 69, 2},
      {"a void with no bit of quotas", kVoid, 51, 0},
      {"a void with a bit of a wallet", kVoid, 51, 5},
      {"a void without figures", kVoid, 52, 0},
      {"a name longer than the record", kNames, 32, 0x7f},
      {"a name that leaves bytes over", kNames, 46, 3},
      {"a rule that does not exist", kWindow, 29, 3},
      {"a percent that does not exist", kAlert, 13, 101},
  };
  for (const Row& row : rows) {
    RecordBuffer buffer;
    Encode(OfQuotas()[row.which], buffer);
    ASSERT_LT(row.at, buffer.bytes.size()) << row.what;
    ASSERT_NE(buffer.bytes[row.at], row.value) << row.what;
    buffer.bytes[row.at] = row.value;
    std::span<const std::uint8_t> bytes = buffer.bytes;
    const auto decoded = Decode(bytes);
    ASSERT_FALSE(decoded) << row.what;
    EXPECT_EQ(decoded.error(), row.fault) << row.what;
  }
}

// Bounds that Encode keeps and that nobody else has to.
TEST(Record, MoreLinesThanARecordHas_AreMalformed) {
  IntentRecord intent{.time = {1}, .request = kRequest, .key = kKey, .price_id = kPriceId};
  intent.quotas = QuotaHold{.multiplier_ppm = 1, .behind = {}, .lines = {}};
  intent.quotas->lines.assign(kQuotaLinesMax, {0, {1}});
  SettleRecord settle{
      .time = {1}, .request = kRequest, .key = kKey, .price_id = kPriceId, .usage = {}};
  settle.quotas.assign(kQuotaLegsMax, {1});
  for (const bool of_intent : {true, false}) {
    RecordBuffer buffer;
    of_intent ? Encode(intent, buffer) : Encode(settle, buffer);
    auto& bytes = buffer.bytes;
    const std::size_t line = of_intent ? 2 : 1;
    const std::size_t count =
        bytes.size() - line * (of_intent ? kQuotaLinesMax : kQuotaLegsMax) - 2;
    ASSERT_EQ(bytes[count], 0x80);
    bytes[count] = 0x81;
    const std::vector<std::uint8_t> last(bytes.end() - static_cast<std::ptrdiff_t>(line),
                                         bytes.end());
    bytes.insert(bytes.end(), last.begin(), last.end());
    bytes[0] = static_cast<std::uint8_t>(bytes.size());
    bytes[1] = static_cast<std::uint8_t>(bytes.size() >> 8);
    std::span<const std::uint8_t> left = bytes;
    const auto decoded = Decode(left);
    ASSERT_FALSE(decoded) << of_intent;
    EXPECT_EQ(decoded.error(), DecodeFault::kMalformed) << of_intent;
  }
}

// What is too large for its field although its bytes are well formed.
TEST(Record, FiguresOutOfTheirRange_AreMalformed) {
  const auto encoded = [](const Record& record) {
    RecordBuffer buffer;
    Encode(record, buffer);
    return buffer.bytes;
  };
  const auto expect_malformed = [](std::vector<std::uint8_t> held, std::size_t at,
                                   std::uint8_t value, const char* what) {
    std::span<const std::uint8_t> bytes = held;
    ASSERT_TRUE(Decode(bytes)) << what;
    held.at(at) = value;
    bytes = held;
    const auto decoded = Decode(bytes);
    ASSERT_FALSE(decoded) << what;
    EXPECT_EQ(decoded.error(), DecodeFault::kMalformed) << what;
  };
  GrantRecord grant{.time = {5}, .grant = kGrant, .wallet = kWallet, .amount = {5}};
  grant.effective_at = {6};
  grant.priority = INT32_MAX;  // five bytes from 46: 12 head, two ids, unit, amount
  expect_malformed(encoded(grant), 50, 0x1F, "a priority above 32 bits");
  grant.priority = INT32_MIN;
  expect_malformed(encoded(grant), 50, 0x1F, "a priority below 32 bits");

  CheckpointRecord note{.time = {1}, .request = kRequest, .usage = {}};
  note.usage.image_kind = kDearestImage - 1;  // five bytes at the end
  const auto bytes = encoded(note);
  expect_malformed(bytes, bytes.size() - 5, 0xFF, "the kind of image that is not written");
  expect_malformed(bytes, bytes.size() - 1, 0x1F, "a kind of image above 32 bits");
}

TEST(Record, EmptyIds_AreMalformed) {
  RecordBuffer buffer;
  Encode(ExtendRecord{{9}, {}, {1'000}, 1024, {}}, buffer);
  Encode(GrantEndRecord{{7}, {}, {400}, GrantEndReason::kRevoked}, buffer);
  std::span<const std::uint8_t> bytes = buffer.bytes;
  EXPECT_EQ(Decode(bytes).error(), DecodeFault::kMalformed);
  bytes = bytes.subspan(bytes[0]);
  EXPECT_EQ(Decode(bytes).error(), DecodeFault::kMalformed);
}

TEST(Record, APriceOfNoBytes_OrOfTooMany_IsMalformed) {
  for (const std::size_t size : {std::size_t{0}, kPriceRecordBytesMax + 1}) {
    RecordBuffer buffer;
    Encode(PriceRecord{{1}, kPriceId, std::vector<std::uint8_t>(16, 7)}, buffer);
    std::vector<std::uint8_t> held(buffer.bytes.begin(), buffer.bytes.end() - 16);
    held.resize(held.size() + size, 7);
    held[0] = static_cast<std::uint8_t>(held.size());
    held[1] = static_cast<std::uint8_t>(held.size() >> 8);
    std::span<const std::uint8_t> bytes = held;
    EXPECT_EQ(Decode(bytes).error(), DecodeFault::kMalformed) << size;
  }
}

// Version 2 is for what version 1 cannot say: without audio it was never written.
TEST(Record, VersionTwoWithoutAudio_IsMalformed) {
  auto held = FromHex(OldRecords()[0].bytes);
  held[2] = 2;
  held.insert(held.begin() + 61, 0);  // an audio_second of nothing, behind the price
  held[0] = static_cast<std::uint8_t>(held.size());
  std::span<const std::uint8_t> bytes = held;
  EXPECT_EQ(Decode(bytes).error(), DecodeFault::kMalformed);
  held[61] = 1;
  bytes = held;
  const auto decoded = Decode(bytes);
  ASSERT_TRUE(decoded) << "and this is what it lacked";
  EXPECT_EQ(std::get<IntentRecord>(*decoded).price.audio_second, NanoUsd{1});
}

TEST(Record, Faults_HaveNames) {
  EXPECT_EQ(Name(DecodeFault::kTruncated), "truncated");
  EXPECT_EQ(Name(DecodeFault{255}), "unknown");
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
  for (const Record& record : Written()) Encode(record, all);
  int accepted = 0;
  for (int round = 0; round < 10'000; ++round) {
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
      if (before[2] < 3 && !std::holds_alternative<FundRecord>(*decoded)) continue;
      RecordBuffer again;
      Encode(*decoded, again);
      ASSERT_EQ(Hex(again.bytes), Hex(before.first(before.size() - bytes.size())));
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace weir::ledger
