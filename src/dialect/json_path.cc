#include "dialect/json_path.h"

#include <algorithm>
#include <bit>
#include <span>

#include "dialect/json_scan.h"

namespace weir::dialect {

namespace {

constexpr std::uint8_t kNoNode = 255;
constexpr std::int64_t kCountMax = kTokensMax;

struct PathLine {
  std::string_view path;  // names joined by dots
  JsonField field;
};

// The first eight bytes of a name as a number, zeros behind a shorter one: with the length it tells
// nearly all names apart.
constexpr std::uint64_t Head(std::string_view name) {
  std::uint64_t head = 0;
  for (std::size_t i = std::min<std::size_t>(name.size(), 8); i-- > 0;) {
    head = (head << 8) | static_cast<unsigned char>(name[i]);
  }
  return head;
}

// What is left of a word of which this many bytes, at most 8, are wanted.
constexpr std::array<std::uint64_t, 9> kHeadMasks = [] {
  std::array<std::uint64_t, 9> masks{};
  for (std::size_t i = 1; i < masks.size(); ++i) masks[i] = masks[i - 1] << 8 | 0xFF;
  return masks;
}();

// Head, of a name in a text of which `readable` bytes from the name on may be read.
std::uint64_t HeadInText(std::string_view name, std::size_t readable) {
  if (readable < 8) return Head(name);
  return LoadWord(name.data()) & kHeadMasks[std::min<std::size_t>(name.size(), 8)];
}

// Whether two names of the same head and length are the same.
constexpr bool SameBehindHead(std::string_view a, std::string_view b) {
  if consteval {
    return a == b;
  }
  for (std::size_t at = 8; at < a.size(); at += 8) {
    const std::size_t word = std::min(at, a.size() - 8);
    if (LoadWord(a.data() + word) != LoadWord(b.data() + word)) return false;
  }
  return true;
}

struct PathNode {
  std::uint64_t head = 0;
  std::string_view name;
  JsonField field = JsonField::kNone;
  std::uint8_t parent = kNoNode;
  bool has_children = false;
};

}  // namespace

// The tree of the paths as a hash table from (parent, name) to node, because most names lead
// nowhere and an empty slot says so at once. The names are ours, so nobody chooses how they
// collide.
struct JsonPathTable {
  std::array<PathNode, 96> nodes{};
  std::array<std::uint8_t, 512> slots{};
  std::uint8_t count = 1;  // nodes[0] is the document

  consteval explicit JsonPathTable(std::span<const PathLine> lines) {
    slots.fill(kNoNode);
    for (const auto& line : lines) {
      std::uint8_t node = 0;
      std::string_view rest = line.path;
      while (!rest.empty()) {
        const auto dot = rest.find('.');
        node = Child(node, rest.substr(0, dot));
        rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
      }
      nodes[node].field = line.field;
    }
  }

  // The node of a child, or kNoNode. `head` is that of `name`.
  constexpr std::uint8_t Find(std::uint8_t parent, std::string_view name,
                              std::uint64_t head) const {
    return Look(parent, name, head).node;
  }

 private:
  struct Place {
    std::size_t slot;
    std::uint8_t node;  // kNoNode: the slot is free, and where this child would go
  };

  constexpr Place Look(std::uint8_t parent, std::string_view name, std::uint64_t head) const {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ULL;  // 2^64 / the golden ratio
    static_assert(std::tuple_size_v<decltype(slots)> == 1U << (64 - 55));
    std::size_t slot = ((head + parent + name.size()) * kOdd) >> 55;
    while (true) {  // most slots are free
      const std::uint8_t found = slots[slot];
      if (found == kNoNode) return {slot, found};
      const PathNode& node = nodes[found];
      if (node.head == head && node.parent == parent && node.name.size() == name.size() &&
          SameBehindHead(node.name, name)) {
        return {slot, found};
      }
      slot = (slot + 1) % slots.size();
    }
  }

  consteval std::uint8_t Child(std::uint8_t parent, std::string_view name) {
    const Place place = Look(parent, name, Head(name));
    if (place.node != kNoNode) return place.node;
    nodes[count] = {Head(name), name, JsonField::kNone, parent, false};
    nodes[parent].has_children = true;
    slots[place.slot] = count;
    return count++;
  }
};

namespace {

using enum JsonField;

// OpenAI's two vocabularies side by side, because OpenAI-compatible servers mix them, and what
// audio and images call it (input_token_details without the s is transcription's).
// prompt_cache_hit_tokens is DeepSeek's name for cached_tokens.
#define WEIR_OPENAI_USAGE(at)                                                 \
  {at, kUsage}, {at ".input_tokens", kInput}, {at ".prompt_tokens", kInput},  \
      {at ".output_tokens", kOutput}, {at ".completion_tokens", kOutput},     \
      {at ".total_tokens", kTotal}, {at ".prompt_cache_hit_tokens", kCached}, \
      {at ".input_tokens_details.cached_tokens", kCached},                    \
      {at ".input_token_details.cached_tokens", kCached},                     \
      {at ".prompt_tokens_details.cached_tokens", kCached},                   \
      {at ".input_tokens_details.cache_write_tokens", kCacheWrite},           \
      {at ".prompt_tokens_details.cache_write_tokens", kCacheWrite},          \
      {at ".input_tokens_details.audio_tokens", kAudioInput},                 \
      {at ".input_token_details.audio_tokens", kAudioInput},                  \
      {at ".prompt_tokens_details.audio_tokens", kAudioInput},                \
      {at ".output_tokens_details.audio_tokens", kAudioOutput},               \
      {at ".completion_tokens_details.audio_tokens", kAudioOutput},           \
      {at ".output_tokens_details.reasoning_tokens", kReasoning}, {           \
    at ".completion_tokens_details.reasoning_tokens", kReasoning              \
  }

#define WEIR_OPENAI_ERROR(at)                                       \
  {at, kError}, {at ".type", kErrorType}, {at ".code", kErrorCode}, \
      {at ".message", kErrorMessage}, {at ".param", kErrorParam},   \
      {at ".resets_in_seconds", kResetsIn}, {                       \
    at ".resets_at", kResetsAt                                      \
  }

// An output item of Responses: message, function_call, custom_tool_call, reasoning.
#define WEIR_OUTPUT_ITEM(at)                                                             \
  {at ".content.text", kText}, {at ".content.refusal", kText}, {at ".arguments", kText}, \
      {at ".input", kText}, {                                                            \
    at ".summary.text", kText                                                            \
  }

#define WEIR_ANTHROPIC_USAGE(at)                                                                  \
  {at, kUsage}, {at ".input_tokens", kInput}, {at ".output_tokens", kOutput},                     \
      {at ".cache_read_input_tokens", kCached}, {at ".cache_creation_input_tokens", kCacheWrite}, \
      {at ".cache_creation.ephemeral_1h_input_tokens", kCacheWrite1h},                            \
      {at ".server_tool_use.web_search_requests", kToolCalls}, {                                  \
    at ".output_tokens_details.thinking_tokens", kReasoning                                       \
  }

#define WEIR_ANTHROPIC_ERROR                                                         \
  {"error", kError}, {"error.type", kErrorType}, {"error.message", kErrorMessage}, { \
    "error.details.error_code", kErrorCode                                           \
  }

constexpr PathLine kResponsesEventLines[] = {
    {"type", kType},
    {"delta", kText},
    {"code", kErrorCode},
    {"message", kErrorMessage},
    {"param", kErrorParam},
    {"resets_in_seconds", kResetsIn},
    {"resets_at", kResetsAt},
    WEIR_OPENAI_ERROR("error"),
    {"response.model", kModel},
    {"response.id", kResponseId},
    {"response.status", kStatus},
    WEIR_OPENAI_ERROR("response.error"),
    WEIR_OPENAI_USAGE("response.usage"),
    WEIR_OPENAI_USAGE("usage"),
    WEIR_OUTPUT_ITEM("response.output"),
    WEIR_OUTPUT_ITEM("item"),
};

constexpr PathLine kResponsesReplyLines[] = {
    {"id", kResponseId},        {"model", kModel},          {"status", kStatus},
    WEIR_OPENAI_ERROR("error"), WEIR_OPENAI_USAGE("usage"), WEIR_OUTPUT_ITEM("output"),
};

constexpr PathLine kChatEventLines[] = {
    {"model", kModel},
    WEIR_OPENAI_ERROR("error"),
    WEIR_OPENAI_USAGE("usage"),
    {"choices", kChoice},
    {"choices.finish_reason", kFinish},
    {"choices.text", kText},  // legacy completions
    {"choices.delta.content", kText},
    {"choices.delta.content.text", kText},
    {"choices.delta.refusal", kText},
    {"choices.delta.reasoning", kText},
    {"choices.delta.reasoning_content", kText},
    {"choices.delta.tool_calls", kContent},
    {"choices.delta.tool_calls.function.arguments", kText},
    {"choices.delta.function_call", kContent},
    {"choices.delta.function_call.arguments", kText},
    {"choices.delta.audio", kContent},
    {"choices.delta.audio.transcript", kText},
};

constexpr PathLine kChatReplyLines[] = {
    {"model", kModel},
    WEIR_OPENAI_ERROR("error"),
    WEIR_OPENAI_USAGE("usage"),
    {"choices", kChoice},
    {"choices.finish_reason", kFinish},
    {"choices.text", kText},
    {"choices.message.content", kText},
    {"choices.message.content.text", kText},
    {"choices.message.refusal", kText},
    {"choices.message.reasoning", kText},
    {"choices.message.reasoning_content", kText},
    {"choices.message.tool_calls.function.arguments", kText},
    {"choices.message.function_call.arguments", kText},
    {"choices.message.audio.transcript", kText},
};

constexpr PathLine kAnthropicEventLines[] = {
    {"type", kType},
    {"message.model", kModel},
    WEIR_ANTHROPIC_USAGE("message.usage"),
    WEIR_ANTHROPIC_USAGE("usage"),
    WEIR_ANTHROPIC_ERROR,
    {"delta.text", kText},
    {"delta.thinking", kText},
    {"delta.partial_json", kText},
    {"delta.stop_reason", kFinish},
    {"content_block.text", kText},
    {"content_block.thinking", kText},
};

constexpr PathLine kAnthropicReplyLines[] = {
    {"type", kType},
    {"model", kModel},
    {"stop_reason", kFinish},
    WEIR_ANTHROPIC_USAGE("usage"),
    WEIR_ANTHROPIC_ERROR,
    {"content.text", kText},
    {"content.thinking", kText},
    {"content.input", kRaw},
};

constexpr PathLine kGeminiLines[] = {
    {"modelVersion", kModel},
    {"usageMetadata", kUsage},
    {"usageMetadata.promptTokenCount", kInput},
    {"usageMetadata.cachedContentTokenCount", kCached},
    {"usageMetadata.toolUsePromptTokenCount", kToolInput},
    {"usageMetadata.candidatesTokenCount", kOutput},
    {"usageMetadata.thoughtsTokenCount", kReasoning},
    {"usageMetadata.totalTokenCount", kTotal},
    {"candidates.finishReason", kFinish},
    {"candidates.content.parts", kContent},
    {"candidates.content.parts.text", kText},
    {"candidates.content.parts.functionCall", kRaw},
    {"candidates.content.parts.executableCode.code", kText},
    {"promptFeedback.blockReason", kFinish},
    {"error", kError},
    {"error.code", kErrorCode},
    {"error.status", kErrorType},
    {"error.message", kErrorMessage},
};

constexpr PathLine kTranscriptEventLines[] = {
    {"type", kType},
    {"delta", kText},
    {"text", kText},
    {"model", kModel},
    {"code", kErrorCode},
    {"message", kErrorMessage},
    {"param", kErrorParam},
    {"resets_in_seconds", kResetsIn},
    {"resets_at", kResetsAt},
    WEIR_OPENAI_ERROR("error"),
    WEIR_OPENAI_USAGE("usage"),
    {"usage.seconds", kAudioUsed},
};

// The segments and words of verbose_json repeat the text and are not counted again.
constexpr PathLine kTranscriptReplyLines[] = {
    {"text", kText},
    {"model", kModel},
    {"duration", kAudioLength},
    WEIR_OPENAI_ERROR("error"),
    WEIR_OPENAI_USAGE("usage"),
    {"usage.seconds", kAudioUsed},
};

// All vendors in one, because a compatible server or a proxy before it may answer in any of them.
// A text as `error` with a message beside it is QuotaFlow's, `detail` FastAPI's and Codex's.
constexpr PathLine kErrorLines[] = {
    {"message", kErrorMessage},
    {"detail", kErrorMessage},
    WEIR_OPENAI_ERROR("error"),
    {"error.status", kErrorType},
    {"error.details.error_code", kErrorCode},
    {"error.details.reason", kErrorReason},
    {"error.details.violations.quotaId", kErrorReason},
    {"error.details.retryDelay", kErrorRetryDelay},
};

constexpr JsonPathTable kResponsesEvent{kResponsesEventLines};
constexpr JsonPathTable kResponsesReply{kResponsesReplyLines};
constexpr JsonPathTable kChatEvent{kChatEventLines};
constexpr JsonPathTable kChatReply{kChatReplyLines};
constexpr JsonPathTable kAnthropicEvent{kAnthropicEventLines};
constexpr JsonPathTable kAnthropicReply{kAnthropicReplyLines};
constexpr JsonPathTable kGemini{kGeminiLines};
constexpr JsonPathTable kTranscriptEvent{kTranscriptEventLines};
constexpr JsonPathTable kTranscriptReply{kTranscriptReplyLines};
constexpr JsonPathTable kErrors{kErrorLines};

constexpr std::array<bool, 256> kBeginsScalar = [] {
  std::array<bool, 256> begins{};
  begins.fill(true);
  for (const unsigned char c : std::string_view(" \n\r\t,:\"{}[]")) begins[c] = false;
  return begins;
}();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view Between(const char* from, const char* to) {
  return {from, static_cast<std::size_t>(to - from)};
}

std::string_view Cut(std::string_view text) { return text.substr(0, kJsonTextBytesMax); }

// The byte that a backslash and `c` stand for. '"', '\\' and '/' stand for themselves, and so does
// what is no escape at all.
char ShortEscape(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

bool IsCount(JsonField field) { return field < kCountFields; }
JsonCount ReadFigure(JsonField field, std::string_view text) {
  const bool seconds = field == kAudioUsed || field == kAudioLength;
  return seconds ? ReadMilliseconds(text) : ReadCount(text);
}
bool IsShortText(JsonField field) { return field >= kCountFields && field < kEndOfFields; }

}  // namespace

const JsonPathTable& EventPaths(Dialect dialect) {
  switch (dialect) {
    case Dialect::kOpenAiResponses:
      return kResponsesEvent;
    case Dialect::kOpenAiChat:
      return kChatEvent;
    case Dialect::kAnthropicMessages:
      return kAnthropicEvent;
    case Dialect::kGeminiGenerate:
      return kGemini;
    case Dialect::kOpenAiTranscription:
      return kTranscriptEvent;
  }
  return kResponsesEvent;
}

const JsonPathTable& ReplyPaths(Dialect dialect) {
  switch (dialect) {
    case Dialect::kOpenAiResponses:
      return kResponsesReply;
    case Dialect::kOpenAiChat:
      return kChatReply;
    case Dialect::kAnthropicMessages:
      return kAnthropicReply;
    case Dialect::kGeminiGenerate:
      return kGemini;
    case Dialect::kOpenAiTranscription:
      return kTranscriptReply;
  }
  return kResponsesReply;
}

const JsonPathTable& ErrorPaths() { return kErrors; }

JsonCount ReadCount(std::string_view number) {
  JsonCount count{.value = 0, .present = true, .odd = false};
  std::size_t at = 0;
  std::int64_t value = 0;
  // Nearly always: digits alone, and too few of them to be too large.
  for (; at < std::min<std::size_t>(number.size(), 15) && IsDigit(number[at]); ++at) {
    value = value * 10 + (number[at] - '0');
  }
  if (at != 0 && at == number.size()) return {value, true, false};
  for (; at < number.size() && IsDigit(number[at]); ++at) {
    // Saturates one above the maximum, so that the overflow stays visible.
    value = std::min(value * 10 + (number[at] - '0'), kCountMax + 1);
  }
  if (at == 0) return {0, true, true};
  if (at < number.size() && number[at] == '.') {
    ++at;
    for (; at < number.size() && IsDigit(number[at]); ++at) {
      count.odd |= number[at] != '0';
    }
  }
  if (at < number.size() && (number[at] == 'e' || number[at] == 'E')) {
    count.odd = true;
    ++at;
    const bool negative = at < number.size() && number[at] == '-';
    if (at < number.size() && (number[at] == '-' || number[at] == '+')) ++at;
    int exponent = 0;
    for (; at < number.size() && IsDigit(number[at]); ++at) {
      exponent = std::min(exponent * 10 + (number[at] - '0'), 100);
    }
    for (; exponent > 0 && value != 0; --exponent) {
      value = negative ? value / 10 : std::min(value * 10, kCountMax + 1);
    }
  }
  if (at != number.size()) count.odd = true;
  if (value > kCountMax) {
    value = kCountMax;
    count.odd = true;
  }
  count.value = value;
  return count;
}

JsonCount ReadMilliseconds(std::string_view seconds) {
  const auto point = std::min(seconds.find('.'), seconds.size());
  JsonCount count = ReadCount(seconds.substr(0, point));
  std::int64_t ms = 0;
  std::size_t decimals = 0;
  bool more = false;
  std::size_t at = point + 1;
  for (; at < seconds.size() && IsDigit(seconds[at]); ++at) {
    if (++decimals <= 3) {
      ms = ms * 10 + (seconds[at] - '0');
    } else {
      more |= seconds[at] != '0';
    }
  }
  for (; decimals < 3; ++decimals) ms *= 10;
  // An exponent, which nobody writes for seconds: whole seconds of it, and odd.
  if (at < seconds.size()) {
    count = ReadCount(seconds);
    count.odd = true;
    ms = 0;
  }
  count.odd |= count.value > kCountMax / 1000;
  count.value = std::min(count.value, kCountMax / 1000) * 1000 + ms + (more ? 1 : 0);
  count.value = std::min(count.value, kCountMax);
  return count;
}

void JsonPathReader::Reset() {
  findings_ = {};
  for (auto& text : texts_) text.clear();
  depth_ = 0;
  skip_depth_ = 0;
  base_ = 0;
  state_ = State::kValue;
  node_ = 0;
  skip_string_ = false;
  escape_ = 0;
  high_surrogate_ = 0;
}

// What the last piece broke off in is read to its end first. Between and inside values nothing else
// is left over: every step below either ends what it reads or has come to the end of the piece.
void JsonPathReader::Append(std::string_view bytes) {
  piece_ = bytes.data();
  const char* const end = bytes.data() + bytes.size();
  const char* at = bytes.data();
  switch (state_) {
    case State::kString:
      at = ReadString(at, end);
      break;
    case State::kScalar:
      at = ReadScalar(at, end);
      break;
    case State::kSkip:
      at = SkipContainer(at, end);
      break;
    case State::kBroken:
      at = end;
      break;
    default:
      break;
  }
  ReadTokens(at, end);
  base_ += bytes.size();
}

const char* JsonPathReader::Broken(const char* end) {
  state_ = State::kBroken;
  return end;
}

// Reads on from between two tokens to the end of the piece. One turn is one member or element.
const char* JsonPathReader::ReadTokens(const char* at, const char* end) {
  // Whether the next token is here without space before it; else the next turn goes on.
  const auto at_token = [&] { return at != end && static_cast<unsigned char>(*at) > ' '; };
  while (at_token() || (at = SkipSpace(at, end)) != end) {
    switch (state_) {
      case State::kName:
        if (*at != '"') {
          at = *at == '}' ? CloseContainer(at, end) : Broken(end);
          break;
        }
        at = ReadMembers(at, end);
        break;
      case State::kAfterName:
        if (*at != ':') return Broken(end);
        state_ = State::kValue;
        ++at;
        if (!at_token()) break;
        [[fallthrough]];
      case State::kValue:
        if (*at == '"') {
          at = ReadStringValue(at + 1, end);
        } else if (kBeginsScalar[static_cast<unsigned char>(*at)]) {
          at = ReadScalarValue(at, end);
        } else if (*at == '{' || *at == '[') {
          at = OpenContainer(at, end);
        } else {
          at = *at == ']' ? CloseContainer(at, end) : Broken(end);
        }
        if (state_ != State::kAfterValue || !at_token()) break;
        [[fallthrough]];
      case State::kAfterValue:
        if (*at == ',') {
          const Frame& frame = frames_[depth_ - 1];
          state_ = frame.object ? State::kName : State::kValue;
          node_ = frame.node;
          ++at;
        } else {
          at = *at == '}' || *at == ']' ? CloseContainer(at, end) : Broken(end);
        }
        break;
      default:
        return Broken(end);  // kDone: something behind the document
    }
  }
  return at;
}

// Reads members from the quote before a name on, for as long as they come as most writers write
// them: whole, without escapes in names. Nearly all of a reply is read here, so the end of the
// piece is asked for once a member: kReach is as far as a name and its value's first block are
// looked at.
const char* JsonPathReader::ReadMembers(const char* at, const char* end) {
  constexpr std::ptrdiff_t kReach = 3 * kBlock;
  const auto leave = [this](State state, const char* from) {
    state_ = state;
    return from;
  };
  std::uint8_t parent = frames_[depth_ - 1].node;
  while (end - at >= kReach) {
    if (*at != '"') {
      at = SkipSpace(at, end);
      if (end - at < kReach || *at != '"') break;
    }
    const char* stop = FindNear(at + 1, end, kQuoteOrBackslash);
    if (end - stop < 2 * kBlock || *stop == '\\') break;
    const std::string_view name = Between(at + 1, stop);
    node_ = table_->Find(parent, name, HeadInText(name, kBlock));
    if (node_ != kNoNode) TakeName(Position(at));
    at = stop + 1;
    if (*at != ':') return leave(State::kAfterName, at);
    if (*++at == ' ') ++at;
    if (*at == '"') {
      stop = FindNear(++at, end, kQuoteOrBackslash);
      if (end - stop < 2 || *stop == '\\') return BeginString(UseOfString(), at, stop, end);
      if (node_ != kNoNode) TakeString(Between(at, stop), static_cast<std::size_t>(stop - at));
      at = stop + 1;
    } else if (kBeginsScalar[static_cast<unsigned char>(*at)]) {
      stop = FindNear(at, end, kScalarEnd);
      if (stop == end) return leave(State::kValue, at);
      if (node_ != kNoNode) TakeScalar(Between(at, stop), static_cast<std::size_t>(stop - at));
      at = stop;
    } else if (*at == '{' || *at == '[') {
      at = OpenContainer(at, end);
      if (state_ == State::kName) {
        parent = node_;
        continue;
      }
      if (state_ != State::kAfterValue || at == end) return at;
    } else {
      return leave(State::kValue, at);
    }
    if (node_ != kNoNode) TakeUsageEnd(at);
    if (*at != ',') return leave(State::kAfterValue, at);
    ++at;
  }
  return at != end && *at == '"' ? ReadName(at, end) : leave(State::kName, at);
}

// `at` is the quote before a name.
const char* JsonPathReader::ReadName(const char* at, const char* end) {
  name_at_ = Position(at++);
  const char* const stop = FindQuoteOrBackslash(at, end);
  if (stop == end || *stop == '\\') return BeginString(StringUse::kName, at, stop, end);
  const auto readable = static_cast<std::size_t>(end - at);
  EndName(Between(at, stop), HeadInText(Between(at, stop), readable));
  return stop + 1;
}

// A string that is not read in one step: its begin [at, stop) is plain.
const char* JsonPathReader::BeginString(StringUse use, const char* at, const char* stop,
                                        const char* end) {
  Begin(State::kString, use);
  EmitRun(at, stop);
  return ReadString(stop, end);
}

// `at` is behind the quote before a value.
const char* JsonPathReader::ReadStringValue(const char* at, const char* end) {
  const char* const stop = FindQuoteOrBackslash(at, end);
  if (stop == end || *stop == '\\') return BeginString(UseOfString(), at, stop, end);
  if (node_ != kNoNode) TakeString(Between(at, stop), static_cast<std::size_t>(stop - at));
  EndValue(stop + 1);
  return stop + 1;
}

const char* JsonPathReader::ReadScalarValue(const char* at, const char* end) {
  const char* const stop = FindScalarEnd(at, end);
  if (stop == end) {
    Begin(State::kScalar, UseOfScalar());
    EmitRun(at, stop);
    return stop;
  }
  if (node_ != kNoNode) TakeScalar(Between(at, stop), static_cast<std::size_t>(stop - at));
  EndValue(stop);
  return stop;
}

JsonPathReader::StringUse JsonPathReader::UseOfString() const {
  const JsonField field = node_ == kNoNode ? kNone : table_->nodes[node_].field;
  if (field == kText || field == kRaw || field == kFinish) return StringUse::kCountOnly;
  if (field == kError || IsCount(field) || IsShortText(field)) return StringUse::kKeep;
  return StringUse::kIgnore;
}

// Like a string, but an error that is a literal must be read to know it from null.
JsonPathReader::StringUse JsonPathReader::UseOfScalar() const {
  const JsonField field = node_ == kNoNode ? kNone : table_->nodes[node_].field;
  const bool read = field == kRaw || field == kError || IsCount(field) || IsShortText(field);
  return read ? StringUse::kKeep : StringUse::kIgnore;
}

// A string or scalar that is not read in one step.
void JsonPathReader::Begin(State state, StringUse use) {
  use_ = use;
  state_ = state;
  escape_ = 0;
  high_surrogate_ = 0;
  string_bytes_ = 0;
  kept_.clear();
}

// Reads on in a string, at most to behind its closing quote.
const char* JsonPathReader::ReadString(const char* at, const char* end) {
  while (at != end) {
    if (escape_ == 0) {
      if (Keeps() || high_surrogate_ != 0) {
        const char* const stop = FindQuoteOrBackslash(at, end);
        EmitRun(at, stop);
        at = stop;
      } else {
        at = CountText(at, end);
      }
      if (at == end) return at;
      if (*at++ == '"') {
        FlushSurrogate();
        if (use_ == StringUse::kName) {
          EndName(kept_, Head(kept_));
        } else {
          if (node_ != kNoNode) TakeString(kept_, string_bytes_);
          EndValue(at);
        }
        return at;
      }
      escape_ = 1;
    } else if (escape_ == 1) {
      const char c = *at++;
      if (c == 'u') {
        escape_ = 5;
        hex_ = 0;
      } else {
        escape_ = 0;
        EmitByte(ShortEscape(c));
      }
    } else {
      at = ReadHexDigits(at, end);
    }
  }
  return at;
}

// Text of which only the length is wanted, as far as it is plain or in short escapes, which are
// nearly all there are.
const char* JsonPathReader::CountText(const char* at, const char* end) {
  while (true) {
    const char* const stop = FindQuoteOrBackslash(at, end);
    string_bytes_ += static_cast<std::size_t>(stop - at);
    if (end - stop < 2 || *stop == '"' || stop[1] == 'u') return stop;
    ++string_bytes_;
    at = stop + 2;
  }
}

const char* JsonPathReader::ReadHexDigits(const char* at, const char* end) {
  while (at != end) {
    const int digit = HexDigit(*at++);
    if (digit < 0) return Broken(end);
    hex_ = hex_ * 16 + static_cast<std::uint32_t>(digit);
    if (--escape_ == 1) {
      escape_ = 0;
      Emit(hex_);
      break;
    }
  }
  return at;
}

// Reads on in a scalar, at most to its end.
const char* JsonPathReader::ReadScalar(const char* at, const char* end) {
  const char* const stop = FindScalarEnd(at, end);
  EmitRun(at, stop);
  if (stop != end) {
    if (node_ != kNoNode) TakeScalar(kept_, string_bytes_);
    EndValue(stop);
  }
  return stop;
}

const char* JsonPathReader::SkipContainer(const char* at, const char* end) {
  while (at != end) {
    if (escape_ != 0) {  // the byte behind a backslash, whatever it is
      escape_ = 0;
      ++at;
      continue;
    }
    if (skip_string_) {
      at = FindQuoteOrBackslash(at, end);
      if (at == end) return at;
      if (*at++ == '\\') {
        escape_ = 1;
      } else {
        skip_string_ = false;
      }
      continue;
    }
    at = FindQuoteOrBracket(at, end);
    if (at == end) return at;
    const char c = *at++;
    if (c == '"') {
      skip_string_ = true;
    } else if (c == '{' || c == '[') {
      ++skip_depth_;
    } else if (--skip_depth_ == 0) {
      if (node_ != kNoNode && table_->nodes[node_].field == kRaw) {
        findings_.text_bytes += static_cast<std::int64_t>(Position(at) - raw_at_);
        findings_.has_content = true;
      }
      EndValue(at);
      return at;
    }
  }
  return at;
}

// The name that begins at name_at_ ended.
void JsonPathReader::EndName(std::string_view name, std::uint64_t head) {
  node_ = table_->Find(frames_[depth_ - 1].node, name, head);
  if (node_ != kNoNode) TakeName(name_at_);
  state_ = State::kAfterName;
}

// The name of node_ begins at `name_at`. That of a usage is kept, because names inside the usage
// come before its end.
void JsonPathReader::TakeName(std::size_t name_at) {
  if (depth_ == 1 && table_->nodes[node_].field == kUsage) usage_at_ = name_at;
}

// A string of `bytes` bytes stands at node_; `text` is all of it that was kept.
void JsonPathReader::TakeString(std::string_view text, std::size_t bytes) {
  const JsonField field = table_->nodes[node_].field;
  if (IsCount(field)) {
    auto& count = findings_.counts[static_cast<std::size_t>(field)];
    count = ReadFigure(field, Cut(text));
    count.odd = true;
  } else if (IsShortText(field)) {
    TextSlot(field) = Cut(text);
  } else if (field == kText || field == kRaw) {
    findings_.text_bytes += static_cast<std::int64_t>(bytes);
    findings_.has_content |= bytes != 0;
  } else if (field == kFinish) {
    findings_.has_finish |= bytes != 0;
  } else if (field == kError) {
    // QuotaFlow and some others give the error as a plain text.
    findings_.has_error |= bytes != 0;
    TextSlot(kErrorMessage) = Cut(text);
  }
}

// As for a string.
void JsonPathReader::TakeScalar(std::string_view text, std::size_t bytes) {
  if (text == "null") return;
  const JsonField field = table_->nodes[node_].field;
  if (IsCount(field)) {
    findings_.counts[static_cast<std::size_t>(field)] = ReadFigure(field, Cut(text));
  } else if (IsShortText(field)) {
    TextSlot(field) = Cut(text);
  } else if (field == kRaw) {
    findings_.text_bytes += static_cast<std::int64_t>(bytes);
    findings_.has_content = true;
  } else if (field == kError) {
    findings_.has_error |= text != "false";
  }
}

// `at` is the bracket.
const char* JsonPathReader::OpenContainer(const char* at, const char* end) {
  const bool object = *at == '{';
  if (node_ == kNoNode) {
    const bool empty = end - at >= 2 && (at[1] | 0x20) == '}';  // as many are
    if (!empty) return BeginSkip(at, end);
    EndValue(at + 2);
    return at + 2;
  }
  const PathNode& node = table_->nodes[node_];
  if (object && node.field != kNone) TakeObject(node.field);
  if (!node.has_children || depth_ == kFrames) return BeginSkip(at, end);
  frames_[depth_++] = {node_, object};
  state_ = object ? State::kName : State::kValue;
  return at + 1;
}

// The container at `at` leads to no known path.
const char* JsonPathReader::BeginSkip(const char* at, const char* end) {
  skip_depth_ = 1;
  skip_string_ = false;
  escape_ = 0;
  raw_at_ = Position(at);
  state_ = State::kSkip;
  return SkipContainer(at + 1, end);
}

// An object begins where `field` stands.
void JsonPathReader::TakeObject(JsonField field) {
  findings_.has_usage |= field == kUsage;
  findings_.has_content |= field == kContent;
  findings_.has_choice |= field == kChoice;
  findings_.has_error |= field == kError;
}

const char* JsonPathReader::CloseContainer(const char* at, const char* end) {
  if (depth_ == 0 || frames_[depth_ - 1].object != (*at == '}')) return Broken(end);
  node_ = frames_[--depth_].node;
  EndValue(at + 1);
  return at + 1;
}

// The value of node_ ended before `behind`.
void JsonPathReader::EndValue(const char* behind) {
  state_ = depth_ == 0 ? State::kDone : State::kAfterValue;
  if (node_ != kNoNode) TakeUsageEnd(behind);
}

// What stands at node_ ended before `behind`. A top-level usage is a member from its name to here.
void JsonPathReader::TakeUsageEnd(const char* behind) {
  if (depth_ == 1 && frames_[0].object && table_->nodes[node_].field == kUsage) {
    findings_.usage_member = {usage_at_, Position(behind) - usage_at_};
  }
}

// One code unit of a \u escape, or the character of a short one. The halves of a pair are joined;
// a half alone counts as U+FFFD, as readers show it.
void JsonPathReader::Emit(std::uint32_t code_point) {
  const bool low = code_point >= 0xDC00 && code_point < 0xE000;
  if (high_surrogate_ != 0 && low) {
    code_point = 0x10000 + ((high_surrogate_ - 0xD800) << 10) + (code_point - 0xDC00);
    high_surrogate_ = 0;
  } else {
    FlushSurrogate();
    if (code_point >= 0xD800 && code_point < 0xDC00) {
      high_surrogate_ = code_point;
      return;
    }
    if (low) code_point = 0xFFFD;
  }
  EmitWhole(code_point);
}

void JsonPathReader::FlushSurrogate() {
  if (high_surrogate_ == 0) return;
  high_surrogate_ = 0;
  EmitWhole(0xFFFD);
}

void JsonPathReader::EmitWhole(std::uint32_t code_point) {
  std::array<char, 4> bytes;
  const std::size_t length = EncodeUtf8(code_point, bytes);
  string_bytes_ += length;
  if (!Keeps()) return;
  if (kept_.size() + length <= kJsonTextBytesMax) kept_.append(bytes.data(), length);
}

void JsonPathReader::EmitByte(char byte) { EmitRun(&byte, &byte + 1); }

void JsonPathReader::EmitRun(const char* from, const char* to) {
  if (from == to) return;
  FlushSurrogate();
  const auto length = static_cast<std::size_t>(to - from);
  string_bytes_ += length;
  if (Keeps()) kept_.append(from, std::min(length, kJsonTextBytesMax - kept_.size()));
}

void UsageTally::Add(const JsonFindings& findings) {
  has_usage_ |= findings.has_usage;
  for (std::size_t i = 0; i < kJsonCounts; ++i) {
    const JsonCount& count = findings.counts[i];
    if (!count.present) continue;
    const auto field = static_cast<JsonField>(i);
    if (field == kResetsIn || field == kResetsAt) continue;
    if (count.odd) fell_ = true;
    const bool may_not_fall = field == kInput || field == kOutput;
    if (may_not_fall && counts_[i].present && count.value < counts_[i].value) fell_ = true;
    counts_[i] = count;
  }
}

UsageTally::Clean UsageTally::Cleaned(Dialect dialect) const {
  const auto count = [this](JsonField field) { return counts_[static_cast<std::size_t>(field)]; };
  const auto value = [&](JsonField field) { return count(field).value; };
  Clean clean{.usage = {}, .inconsistent = fell_};
  Usage& usage = clean.usage;
  // The length a transcript gives of its file counts for want of anything better.
  if (dialect == Dialect::kOpenAiTranscription && count(kAudioLength).value > 0 &&
      !count(kAudioUsed).present) {
    usage.audio_ms = value(kAudioLength);
    usage.source = UsageSource::kProvider;
  }
  if (!has_usage_) return clean;
  bool any = count(kAudioUsed).present;
  for (const auto field : {kInput, kCached, kCacheWrite, kToolInput, kOutput, kReasoning, kTotal}) {
    any |= count(field).present;
  }
  // An empty usage object says nothing: as if there were none.
  if (!any) return clean;
  usage.source = UsageSource::kProvider;
  usage.input_tokens = value(kInput);
  usage.cached_input_tokens = value(kCached);
  usage.cache_write_tokens = value(kCacheWrite);
  usage.output_tokens = value(kOutput);
  usage.reasoning_tokens = value(kReasoning);
  usage.cache_write_1h_tokens = value(kCacheWrite1h);
  usage.input_audio_tokens = value(kAudioInput);
  usage.output_audio_tokens = value(kAudioOutput);
  usage.tool_calls = value(kToolCalls);
  if (count(kAudioUsed).present) usage.audio_ms = value(kAudioUsed);
  // Each figure is at most 2^53, so no sum of a few of them overflows.
  switch (dialect) {
    case Dialect::kAnthropicMessages:
      usage.input_tokens += usage.cached_input_tokens + usage.cache_write_tokens;
      break;
    case Dialect::kGeminiGenerate:
      usage.input_tokens += value(kToolInput);
      usage.output_tokens += usage.reasoning_tokens;
      break;
    default:
      break;
  }
  // Embeddings and some servers give the total and one side only.
  const std::int64_t total = value(kTotal);
  const bool openai = IsOpenAi(dialect);
  if (openai && !count(kOutput).present && total > usage.input_tokens && count(kInput).present) {
    usage.output_tokens = total - usage.input_tokens;
  } else if (openai && !count(kInput).present && total > usage.output_tokens) {
    usage.input_tokens = total - usage.output_tokens;
  }
  const auto cap = [&](std::int64_t& figure, std::int64_t bound) {
    if (figure <= bound) return;
    figure = bound;
    clean.inconsistent = true;
  };
  cap(usage.input_tokens, kCountMax);
  cap(usage.output_tokens, kCountMax);
  cap(usage.cached_input_tokens, usage.input_tokens);
  cap(usage.cache_write_tokens, usage.input_tokens - usage.cached_input_tokens);
  cap(usage.reasoning_tokens, usage.output_tokens);
  cap(usage.cache_write_1h_tokens, usage.cache_write_tokens);
  // Audio may be cached, or be reasoned about, and nobody says how much of it was: what is both is
  // counted as the other, without calling it inconsistent unless it is more than there is.
  const auto cap_audio = [&](std::int64_t& audio, std::int64_t whole, std::int64_t other) {
    cap(audio, whole);
    audio = std::min(audio, whole - other);
  };
  cap_audio(usage.input_audio_tokens, usage.input_tokens,
            usage.cached_input_tokens + usage.cache_write_tokens);
  cap_audio(usage.output_audio_tokens, usage.output_tokens, usage.reasoning_tokens);
  cap(usage.tool_calls, kCountMax);
  return clean;
}

Usage UsageTally::ToUsage(Dialect dialect) const { return Cleaned(dialect).usage; }

bool UsageTally::Inconsistent(Dialect dialect) const { return Cleaned(dialect).inconsistent; }

}  // namespace weir::dialect
