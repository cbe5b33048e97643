// A resumable reader of JSON that keeps only the values at a few known paths: counts, short texts
// and how many bytes of generated text went by. It is how usage is read out of replies of any size
// with a few hundred bytes of memory, and it gives the same result wherever the bytes are cut.
//
// It checks nesting and tokens as far as it needs to find its way, not the whole grammar: replies
// pass to the caller unchanged, so it is not for us to refuse them. Arrays are transparent: the
// path choices.delta.content means the content of every element of choices.
//
// What lies whole in one piece is read without being copied or remembered byte by byte, which is
// how nearly every reply and event comes; only what a cut goes through takes the slow way, and both
// give the same findings (fuzz_entry.h compares them).
//
// Never recursive; containers that lead to no known path are only counted through.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/usage.h"
#include "dialect/dialect.h"
#include "dialect/request_shape.h"

namespace weir::dialect {

// What stands at a path. The counts come first: they index JsonFindings::counts.
enum class JsonField : std::uint8_t {
  kInput,  // without the cached ones for Anthropic
  kCached,
  kCacheWrite,
  kToolInput,  // Gemini's toolUsePromptTokenCount
  kOutput,     // without the reasoning ones for Gemini
  kReasoning,
  kCacheWrite1h,  // of the cache writes, those kept for an hour
  kAudioInput,
  kAudioOutput,
  kToolCalls,  // that the provider ran and bills
  kTotal,
  kAudioUsed,    // seconds of audio as the usage has them, here in milliseconds
  kAudioLength,  // the same as a transcript says it of its file
  kResetsIn,     // error.resets_in_seconds
  kResetsAt,     // error.resets_at, unix seconds
  kCountFields,
  // Short texts; numbers and literals are kept as they are written.
  kType = kCountFields,
  kModel,
  kResponseId,
  kStatus,
  kErrorType,
  kErrorCode,
  kErrorMessage,
  kErrorParam,
  kErrorReason,      // error.details.reason or .quotaId: what Gemini says more
  kErrorRetryDelay,  // error.details.retryDelay, "27s"
  kEndOfFields,
  // What only leaves a mark or is counted.
  kNone = kEndOfFields,
  kText,     // generated text: its decoded bytes are counted
  kRaw,      // a generated value that is not text: its bytes as sent are counted
  kContent,  // an object here is generated content
  kChoice,   // an object here is one of `choices`
  kFinish,   // a text here says that generation ended
  kUsage,    // an object here is the usage
  kError,    // an object or text here is an error
};

inline constexpr std::size_t kJsonCounts = static_cast<std::size_t>(JsonField::kCountFields);
inline constexpr std::size_t kJsonTexts = static_cast<std::size_t>(JsonField::kEndOfFields);
inline constexpr std::size_t kJsonTextBytesMax = 1024;

// A number that should be a count of something.
struct JsonCount {
  std::int64_t value = 0;  // 0 .. 2^53, brought into range
  bool present = false;    // false also for null
  bool odd = false;        // it was negative, too large or not an integer

  friend bool operator==(const JsonCount&, const JsonCount&) = default;
};

// Reads a JSON number as a count: "12" exactly; anything else brought into range and odd.
JsonCount ReadCount(std::string_view number);
// The same for a number of seconds, as milliseconds: "8.4701" is 8,471, always up.
JsonCount ReadMilliseconds(std::string_view seconds);

struct JsonFindings {
  std::array<JsonCount, kJsonCounts> counts;
  std::int64_t text_bytes = 0;  // of kText and kRaw
  bool has_usage = false;       // a usage object was opened
  bool has_choice = false;
  bool has_content = false;  // kContent, kRaw, or text that is not empty
  bool has_finish = false;
  bool has_error = false;  // an error that is not null
  Span usage_member;       // the last top-level kUsage member, from its name to its value's end

  const JsonCount& Count(JsonField field) const { return counts[static_cast<std::size_t>(field)]; }
  friend bool operator==(const JsonFindings&, const JsonFindings&) = default;
};

struct JsonPathTable;
// The paths of a dialect's event data, or of its JSON replies.
const JsonPathTable& EventPaths(Dialect dialect);
const JsonPathTable& ReplyPaths(Dialect dialect);
// The paths of an error body, whichever vendor's.
const JsonPathTable& ErrorPaths();

class JsonPathReader {
 public:
  explicit JsonPathReader(const JsonPathTable& table) : table_(&table) {}

  // Forgets everything, for the next document.
  void Reset();
  void Append(std::string_view bytes);

  const JsonFindings& findings() const { return findings_; }
  // A short text, cut at 1 KiB; empty when absent.
  std::string_view Text(JsonField field) const {
    return texts_[static_cast<std::size_t>(field) - kJsonCounts];
  }
  // One whole document was read and nothing but white space came behind it.
  bool complete() const { return state_ == State::kDone; }
  // Something was met that cannot be JSON; what was found before stays.
  bool broken() const { return state_ == State::kBroken; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kString,
    kScalar,
    kName,
    kAfterName,
    kAfterValue,
    kSkip,
    kDone,
    kBroken
  };
  enum class StringUse : std::uint8_t { kIgnore, kName, kKeep, kCountOnly };
  struct Frame {
    std::uint8_t node;
    bool object;
  };
  static constexpr std::size_t kFrames = 16;

  const char* ReadTokens(const char* at, const char* end);
  const char* ReadMembers(const char* at, const char* end);
  const char* ReadName(const char* at, const char* end);
  const char* ReadStringValue(const char* at, const char* end);
  const char* BeginString(StringUse use, const char* at, const char* stop, const char* end);
  const char* ReadString(const char* at, const char* end);
  const char* CountText(const char* at, const char* end);
  const char* ReadHexDigits(const char* at, const char* end);
  const char* ReadScalarValue(const char* at, const char* end);
  const char* ReadScalar(const char* at, const char* end);
  const char* SkipContainer(const char* at, const char* end);
  const char* OpenContainer(const char* at, const char* end);
  const char* BeginSkip(const char* at, const char* end);
  const char* CloseContainer(const char* at, const char* end);
  const char* Broken(const char* end);
  StringUse UseOfString() const;
  StringUse UseOfScalar() const;
  void Begin(State state, StringUse use);
  void EndName(std::string_view name, std::uint64_t head);
  void TakeName(std::size_t name_at);
  void TakeString(std::string_view text, std::size_t bytes);
  void TakeScalar(std::string_view text, std::size_t bytes);
  void TakeObject(JsonField field);
  void TakeUsageEnd(const char* behind);
  void EndValue(const char* behind);
  bool Keeps() const { return use_ == StringUse::kName || use_ == StringUse::kKeep; }
  void Emit(std::uint32_t code_point);
  void EmitWhole(std::uint32_t code_point);
  void EmitByte(char byte);
  void EmitRun(const char* from, const char* to);
  void FlushSurrogate();
  // Where in the document a byte of the current piece is.
  std::size_t Position(const char* at) const {
    return base_ + static_cast<std::size_t>(at - piece_);
  }
  std::string& TextSlot(JsonField field) {
    return texts_[static_cast<std::size_t>(field) - kJsonCounts];
  }

  const JsonPathTable* table_;
  JsonFindings findings_;
  std::array<std::string, kJsonTexts - kJsonCounts> texts_;
  std::array<Frame, kFrames> frames_{};
  std::size_t depth_ = 0;
  std::size_t skip_depth_ = 0;   // containers open inside a skipped one, itself included
  const char* piece_ = nullptr;  // what was given to Append, during Append
  std::size_t base_ = 0;         // position of the current piece in the document
  std::size_t name_at_ = 0;      // position of the current member's name
  std::size_t usage_at_ = 0;     // position of the name of a top-level usage
  std::size_t raw_at_ = 0;       // position of the skipped container
  State state_ = State::kValue;
  std::uint8_t node_ = 0;  // where the value that comes next stands
  StringUse use_ = StringUse::kIgnore;
  bool skip_string_ = false;  // inside a string of a skipped container
  std::uint8_t escape_ = 0;   // 0 no, 1 behind a backslash, 2..5 hex digits left + 1
  std::uint32_t hex_ = 0;
  std::uint32_t high_surrogate_ = 0;
  std::size_t string_bytes_ = 0;  // decoded bytes of the current string
  std::string kept_;              // the current string or scalar, cut at kJsonTextBytesMax
};

// Adds the figures of one document after the other: a figure that is given replaces the earlier
// one, a figure that is not given leaves it (Anthropic splits usage over events; wire.md: take the
// last that is not null).
class UsageTally {
 public:
  void Add(const JsonFindings& findings);
  Usage ToUsage(Dialect dialect) const;
  bool Inconsistent(Dialect dialect) const;

 private:
  struct Clean {
    Usage usage;
    bool inconsistent;
  };
  Clean Cleaned(Dialect dialect) const;

  std::array<JsonCount, kJsonCounts> counts_{};
  bool has_usage_ = false;
  bool fell_ = false;  // input or output became smaller, or a figure was odd
};

}  // namespace weir::dialect
