// The journal record: what the ledger writes down, and all it needs to be rebuilt from.
//
// FROZEN. Versions 1 and 2, little endian; `varint` is unsigned LEB128 in its shortest form,
// `zigzag` a varint of (n << 1) ^ (n >> 63):
//
//   record     := length:u16  version:u8  kind:u8  time_ns:i64  body
//                 length counts the whole record, its own two bytes included
//   body(1)    := request:id key:id price hold:varint input_bound:varint output_bound:varint Intent
//   body(2)    := request:id key:id price usage Checkpoint body(3)    := request:id key:id price
//   charged:varint overrun:varint cause:u8 usage          Settle body(4)    := request:id key:id
//   price released:varint cause:u8 usage                          Void body(5)    := key:id
//   amount:zigzag capped:u8 leg:varint                                       Fund id         :=
//   high:u64 low:u64 price      := version:varint input:varint cached_input:varint
//   cache_write:varint
//                 output:varint per_request:varint                  pUSD per token; nUSD per
//                 request
//   usage      := source:u8 input:varint cached_input:varint cache_write:varint output:varint
//                 reasoning:varint
//
//   Version 2 is version 1 with one figure more at the end of two of them:
//   price(2)   := price audio_second:varint                            nUSD per second of audio
//   usage(2)   := usage audio_ms:varint                                milliseconds of audio
//   It is written for what has audio and for nothing else, so that a journal without audio is read
//   by every program that read it before.
//
// Every record about a request carries the key and the price it was admitted at, so that a record
// is understood without the configuration that made it. A change of the format is a new version;
// old versions are read for ever.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/money.h"
#include "base/time.h"
#include "base/usage.h"

namespace weir::ledger {

// The price a request was admitted at (config::Price as it is on disk).
struct PinnedPrice {
  std::uint32_t version = 0;
  PicoUsdPerUnit input;
  PicoUsdPerUnit cached_input;
  PicoUsdPerUnit cache_write;
  PicoUsdPerUnit output;
  NanoUsd per_request;
  NanoUsd audio_second = {};
  friend bool operator==(const PinnedPrice&, const PinnedPrice&) = default;
};

// Why a request was resolved. Frozen: on disk.
enum class ResolveCause : std::uint8_t {
  kSettled = 0,   // by the exchange itself
  kRecovery = 1,  // by the start after a crash
};

// A hold was taken. The request may be sent upstream.
struct IntentRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;
  NanoUsd hold;
  std::int64_t input_tokens_bound = 0;
  std::int64_t output_tokens_bound = 0;  // over all choices, after clamping
  friend bool operator==(const IntentRecord&, const IntentRecord&) = default;
};

// What an open call has delivered so far; the last one counts.
struct CheckpointRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;
  Usage usage;
  friend bool operator==(const CheckpointRecord&, const CheckpointRecord&) = default;
};

// The hold was resolved: `charged` to the key, `overrun` to the operator, the rest released.
struct SettleRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;
  NanoUsd charged;
  NanoUsd overrun;
  ResolveCause cause = ResolveCause::kSettled;
  Usage usage;
  friend bool operator==(const SettleRecord&, const SettleRecord&) = default;
};

// The hold was released whole. `usage` is what was used and not charged, if anything.
struct VoidRecord {
  Instant time;
  RequestId request;
  KeyId key;
  PinnedPrice price;
  NanoUsd released;
  ResolveCause cause = ResolveCause::kSettled;
  Usage usage;
  friend bool operator==(const VoidRecord&, const VoidRecord&) = default;
};

// The budget of a key changed by `amount` (negative: lowered), or its rule did.
struct FundRecord {
  Instant time;
  KeyId key;
  NanoUsd amount;
  bool capped = true;     // whether the key has a budget at all from here on
  std::uint32_t leg = 0;  // of the funding transfer: counts up per key
  friend bool operator==(const FundRecord&, const FundRecord&) = default;
};

using Record = std::variant<IntentRecord, CheckpointRecord, SettleRecord, VoidRecord, FundRecord>;

inline constexpr std::size_t kRecordBytesMax = 512;  // every record is shorter

// Encoded records, one behind the other. The owner clears and reuses it, so appending allocates
// only while it grows.
struct RecordBuffer {
  std::vector<std::uint8_t> bytes;
  std::uint32_t count = 0;
  void Clear() {
    bytes.clear();
    count = 0;
  }
};

// Appends one record. REQUIRES amounts and counts >= 0 (Fund's amount aside).
void Encode(const IntentRecord& record, RecordBuffer& out);
void Encode(const CheckpointRecord& record, RecordBuffer& out);
void Encode(const SettleRecord& record, RecordBuffer& out);
void Encode(const VoidRecord& record, RecordBuffer& out);
void Encode(const FundRecord& record, RecordBuffer& out);
void Encode(const Record& record, RecordBuffer& out);

enum class DecodeFault : std::uint8_t {
  kTruncated,       // the bytes end inside the record
  kUnknownVersion,  // written by a newer program
  kUnknownKind,
  kMalformed,  // lengths, ranges or varints that Encode never writes
};

std::string_view Name(DecodeFault fault);

// Takes the first record off `bytes`. Safe on any bytes; on a fault `bytes` is unchanged.
std::expected<Record, DecodeFault> Decode(std::span<const std::uint8_t>& bytes);

}  // namespace weir::ledger
