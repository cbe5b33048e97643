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

std::vector<Record> AllKinds() {
  return {
      IntentRecord{{1'700'000'000'000'000'000}, kRequest, kKey, kPrice, {15'000'000}, 4800, 1500},
      CheckpointRecord{{1'700'000'000'500'000'000}, kRequest, kKey, kPrice, kUsage},
      SettleRecord{{-1}, kRequest, kKey, kPrice, {3'750'000}, {7}, ResolveCause::kRecovery, kUsage},
      VoidRecord{{INT64_MAX}, kRequest, kKey, kPrice, kMaxNanoUsd, ResolveCause::kSettled, {}},
      FundRecord{{0}, kKey, {-5'000'000'000}, true, 4'000'000'000},
      FundRecord{{0}, kKey, {12}, false, 0}};
}

// Those that need version 2: a price of audio, audio, and both.
std::vector<Record> WithAudio() {
  PinnedPrice price = kPrice;
  price.audio_second = {100'000};
  Usage usage = kUsage;
  usage.audio_ms = 8'470;
  return {IntentRecord{{1}, kRequest, kKey, price, {15'000'000}, 4800, 1500},
          CheckpointRecord{{2}, kRequest, kKey, kPrice, usage},
          SettleRecord{{3}, kRequest, kKey, price, {3'750'000}, {7}, ResolveCause::kSettled, usage},
          VoidRecord{{4}, kRequest, kKey, price, kMaxNanoUsd, ResolveCause::kSettled, {}}};
}

std::vector<Record> Everything() {
  auto all = AllKinds();
  const auto audio = WithAudio();
  all.insert(all.end(), audio.begin(), audio.end());
  return all;
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
// version 2 instead.
TEST(Record, VersionOne_IsFrozen) {
  const char* const frozen[] = {
      "4500010100002a36fe9c971701000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400c0c39307c025dc0b",
      "470001020065f753fe9c971701000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade2040001b009e80700ac028001",
      "4d000103ffffffffffffffff01000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400f0f0e401070101b009e80700ac028001",
      "4d000104ffffffffffffff7f01000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400ffffffffffffffff1f00000000000000",
      "27000105000000000000000002000000000091018877665544332211ffc7afa0250180d0acf30e",
      "1f000105000000000000000002000000000091018877665544332211180000",
  };
  const auto records = AllKinds();
  for (std::size_t i = 0; i < records.size(); ++i) {
    RecordBuffer buffer;
    Encode(records[i], buffer);
    EXPECT_EQ(Hex(buffer.bytes), frozen[i]) << i;
  }
}

TEST(Record, VersionTwo_IsFrozen_AndWrittenForAudioAlone) {
  const char* const frozen[] = {
      "48000201010000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400a08d06c0c39307c025dc0b",
      "4a000202020000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade204000001b009e80700ac0280019642",
      "52000203030000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400a08d06f0f0e401070001b009e80700ac0280019642",
      "51000204040000000000000001000000000092011100ffeeddccbbaa020000000000910188776655"
      "4433221103a0cb980190a10f88debe0180ade20400a08d06ffffffffffffffff1f0000000000000000",
  };
  const auto records = WithAudio();
  for (std::size_t i = 0; i < records.size(); ++i) {
    RecordBuffer buffer;
    Encode(records[i], buffer);
    EXPECT_EQ(Hex(buffer.bytes), frozen[i]) << i;
  }
}

TEST(Record, VersionTwoWithoutAudio_IsMalformed) {
  for (const Record& record : AllKinds()) {
    RecordBuffer buffer;
    Encode(record, buffer);
    buffer.bytes[2] = 2;
    std::span<const std::uint8_t> bytes = buffer.bytes;
    EXPECT_FALSE(Decode(bytes));
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
      {"a newer version", 2, 3, DecodeFault::kUnknownVersion},
      {"kind zero", 3, 0, DecodeFault::kUnknownKind},
      {"a kind after the last", 3, 6, DecodeFault::kUnknownKind},
      {"a length shorter than the head", 0, 11, DecodeFault::kMalformed},
      {"a length that ends in a field", 0, 30, DecodeFault::kMalformed},
      {"a length beyond the bytes", 0, 32, DecodeFault::kTruncated},
      {"a length beyond every record", 1, 3, DecodeFault::kMalformed},
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
      RecordBuffer again;
      Encode(*decoded, again);
      ASSERT_EQ(Hex(again.bytes), Hex(before.first(before.size() - bytes.size())));
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace weir::ledger
