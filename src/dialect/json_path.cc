#include "dialect/json_path.h"

#include <algorithm>
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

// The first eight bytes of a name as a number, zeros behind a shorter one: one comparison decides
// nearly every lookup.
constexpr std::uint64_t Head(std::string_view name) {
  std::uint64_t head = 0;
  const std::size_t length = std::min<std::size_t>(name.size(), 8);
  for (std::size_t i = length; i-- > 0;) {
    head = (head << 8) | static_cast<unsigned char>(name[i]);
  }
  return head;
}

std::uint64_t HeadAtRunTime(std::string_view name) {
  return name.size() >= 8 ? LoadWord(name.data()) : Head(name);
}

struct PathNode {
  std::uint64_t head = 0;
  std::string_view name;
  JsonField field = JsonField::kNone;
  std::uint8_t first_child = kNoNode;
  std::uint8_t next_sibling = kNoNode;
};

}  // namespace

struct JsonPathTable {
  std::array<PathNode, 96> nodes{};
  std::uint8_t count = 1;  // nodes[0] is the document

  consteval explicit JsonPathTable(std::span<const PathLine> lines) {
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

  // `head` is that of `name`.
  constexpr std::uint8_t Find(std::uint8_t parent, std::string_view name,
                              std::uint64_t head) const {
    std::uint8_t child = nodes[parent].first_child;
    for (; child != kNoNode; child = nodes[child].next_sibling) {
      const PathNode& node = nodes[child];
      if (node.head != head || node.name.size() != name.size()) continue;
      if (name.size() <= 8 || node.name == name) break;
    }
    return child;
  }

 private:
  consteval std::uint8_t Child(std::uint8_t parent, std::string_view name) {
    const std::uint8_t found = Find(parent, name, Head(name));
    if (found != kNoNode) return found;
    nodes[count] = {Head(name), name, JsonField::kNone, kNoNode, nodes[parent].first_child};
    nodes[parent].first_child = count;
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
  {                                                                                               \
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
    WEIR_OPENAI_ERROR("error"),
    {"response.model", kModel},
    {"response.status", kStatus},
    WEIR_OPENAI_ERROR("response.error"),
    WEIR_OPENAI_USAGE("response.usage"),
    WEIR_OPENAI_USAGE("usage"),
    WEIR_OUTPUT_ITEM("response.output"),
    WEIR_OUTPUT_ITEM("item"),
};

constexpr PathLine kResponsesReplyLines[] = {
    {"model", kModel},          {"status", kStatus},        WEIR_OPENAI_ERROR("error"),
    WEIR_OPENAI_USAGE("usage"), WEIR_OUTPUT_ITEM("output"),
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
constexpr JsonPathTable kErrors{kErrorLines};

bool IsCount(JsonField field) { return field < kCountFields; }
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
  }
  return kResponsesReply;
}

const JsonPathTable& ErrorPaths() { return kErrors; }

JsonCount ReadCount(std::string_view number) {
  JsonCount count{.value = 0, .present = true, .odd = false};
  if (!number.empty() && number.front() == '-') return {0, true, true};
  std::size_t at = 0;
  std::int64_t value = 0;
  bool any_digit = false;
  for (; at < number.size() && number[at] >= '0' && number[at] <= '9'; ++at) {
    any_digit = true;
    // Saturates one above the maximum, so that the overflow stays visible.
    value = std::min(value * 10 + (number[at] - '0'), kCountMax + 1);
  }
  if (!any_digit) return {0, true, true};
  if (at < number.size() && number[at] == '.') {
    ++at;
    for (; at < number.size() && number[at] >= '0' && number[at] <= '9'; ++at) {
      count.odd |= number[at] != '0';
    }
  }
  if (at < number.size() && (number[at] == 'e' || number[at] == 'E')) {
    count.odd = true;
    ++at;
    const bool negative = at < number.size() && number[at] == '-';
    if (at < number.size() && (number[at] == '-' || number[at] == '+')) ++at;
    int exponent = 0;
    for (; at < number.size() && number[at] >= '0' && number[at] <= '9'; ++at) {
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

void JsonPathReader::Append(std::string_view bytes) {
  piece_ = bytes.data();
  const char* const end = bytes.data() + bytes.size();
  const char* at = bytes.data();
  while (at != end) {
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
        if (IsJsonSpace(*at)) {
          ++at;
        } else {
          at = ReadToken(at, end);
        }
    }
  }
  base_ += bytes.size();
}

// Reads the one byte at `at`, which begins or separates values; for a name perhaps all of it.
const char* JsonPathReader::ReadToken(const char* at, const char* end) {
  const char c = *at;
  switch (state_) {
    case State::kValue:
      switch (c) {
        case '"':
          BeginString(UseOfString());
          return at + 1;
        case '{':
        case '[':
          OpenContainer(at);
          return at + 1;
        case ']':
          CloseContainer(at);
          return at + 1;
        case ',':
        case ':':
        case '}':
          break;
        default:
          kept_.clear();
          string_bytes_ = 0;
          high_surrogate_ = 0;
          use_ = UseOfScalar();
          state_ = State::kScalar;
          return at;
      }
      break;
    case State::kName:
      if (c == '}') {
        CloseContainer(at);
        return at + 1;
      }
      if (c == '"') {
        name_at_ = Position(at++);
        // Nearly always the whole name is here and without escapes: no copy.
        const char* const quote = FindQuoteOrBackslash(at, end);
        if (quote != end && *quote == '"') {
          EndName({at, static_cast<std::size_t>(quote - at)});
          if (quote + 1 == end || quote[1] != ':') return quote + 1;
          state_ = State::kValue;
          return quote + 2;
        }
        BeginString(StringUse::kName);
        return at;
      }
      break;
    case State::kAfterName:
      if (c == ':') {
        state_ = State::kValue;
        return at + 1;
      }
      break;
    case State::kAfterValue:
      if (c == ',') {
        const Frame& frame = frames_[depth_ - 1];
        state_ = frame.object ? State::kName : State::kValue;
        node_ = frame.node;
        return at + 1;
      }
      if (c == '}' || c == ']') {
        CloseContainer(at);
        return at + 1;
      }
      break;
    default:
      break;  // kDone: something behind the document
  }
  state_ = State::kBroken;
  return end;
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

void JsonPathReader::BeginString(StringUse use) {
  use_ = use;
  state_ = State::kString;
  escape_ = 0;
  high_surrogate_ = 0;
  string_bytes_ = 0;
  kept_.clear();
}

// Reads on in a string, at most to behind its closing quote.
const char* JsonPathReader::ReadString(const char* at, const char* end) {
  while (at != end) {
    if (escape_ == 0) {
      const char* const stop = FindQuoteOrBackslash(at, end);
      EmitRun(at, stop);
      at = stop;
      if (at == end) return at;
      if (*at++ == '\\') {
        escape_ = 1;
        continue;
      }
      FlushSurrogate();
      if (use_ == StringUse::kName) {
        EndName(kept_);
      } else {
        EndString(at);
      }
      return at;
    }
    const char c = *at++;
    if (escape_ == 1) {
      escape_ = 0;
      switch (c) {
        case 'u':
          escape_ = 5;
          hex_ = 0;
          break;
        case 'b':
          Emit('\b');
          break;
        case 'f':
          Emit('\f');
          break;
        case 'n':
          Emit('\n');
          break;
        case 'r':
          Emit('\r');
          break;
        case 't':
          Emit('\t');
          break;
        default:
          EmitRun(at - 1, at);
          break;  // '"', '\\', '/'; anything else stays as it is
      }
      continue;
    }
    const int digit = HexDigit(c);
    if (digit < 0) {
      state_ = State::kBroken;
      return end;
    }
    hex_ = hex_ * 16 + static_cast<std::uint32_t>(digit);
    if (--escape_ == 1) {
      escape_ = 0;
      Emit(hex_);
    }
  }
  return at;
}

const char* JsonPathReader::ReadScalar(const char* at, const char* end) {
  const char* stop = at;
  while (stop != end && !IsJsonSpace(*stop) && *stop != ',' && *stop != ']' && *stop != '}') {
    ++stop;
  }
  EmitRun(at, stop);
  if (stop != end) EndScalar(stop);
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

void JsonPathReader::EndName(std::string_view name) {
  const std::uint8_t parent = frames_[depth_ - 1].node;
  node_ = table_->Find(parent, name, HeadAtRunTime(name));
  // Kept apart, because the names inside the usage come before its end.
  if (depth_ == 1 && node_ != kNoNode && table_->nodes[node_].field == kUsage) {
    usage_at_ = name_at_;
  }
  state_ = State::kAfterName;
}

void JsonPathReader::EndString(const char* behind) {
  if (node_ != kNoNode) {
    const JsonField field = table_->nodes[node_].field;
    if (field == kText || field == kRaw) {
      findings_.text_bytes += static_cast<std::int64_t>(string_bytes_);
      findings_.has_content |= string_bytes_ != 0;
    } else if (field == kFinish) {
      findings_.has_finish |= string_bytes_ != 0;
    } else if (field == kError) {
      // QuotaFlow and some others give the error as a plain text.
      findings_.has_error |= string_bytes_ != 0;
      TextSlot(kErrorMessage) = kept_;
    } else if (IsShortText(field)) {
      TextSlot(field) = kept_;
    } else if (IsCount(field)) {
      auto& count = findings_.counts[static_cast<std::size_t>(field)];
      count = ReadCount(kept_);
      count.odd = true;
    }
  }
  EndValue(behind);
}

void JsonPathReader::EndScalar(const char* behind) {
  if (node_ != kNoNode && kept_ != "null") {
    const JsonField field = table_->nodes[node_].field;
    if (IsCount(field)) {
      findings_.counts[static_cast<std::size_t>(field)] = ReadCount(kept_);
    } else if (IsShortText(field)) {
      TextSlot(field) = kept_;
    } else if (field == kRaw) {
      findings_.text_bytes += static_cast<std::int64_t>(string_bytes_);
      findings_.has_content = true;
    } else if (field == kError) {
      findings_.has_error |= kept_ != "false";
    }
  }
  EndValue(behind);
}

void JsonPathReader::OpenContainer(const char* bracket) {
  const bool object = *bracket == '{';
  const PathNode* const node = node_ == kNoNode ? nullptr : &table_->nodes[node_];
  if (node != nullptr && object) {
    switch (node->field) {
      case kUsage:
        findings_.has_usage = true;
        break;
      case kContent:
        findings_.has_content = true;
        break;
      case kChoice:
        findings_.has_choice = true;
        break;
      case kError:
        findings_.has_error = true;
        break;
      default:
        break;
    }
  }
  if (node == nullptr || node->first_child == kNoNode || depth_ == kFrames) {
    skip_depth_ = 1;
    skip_string_ = false;
    escape_ = 0;
    raw_at_ = Position(bracket);
    state_ = State::kSkip;
    return;
  }
  frames_[depth_++] = {node_, object};
  state_ = object ? State::kName : State::kValue;
}

void JsonPathReader::CloseContainer(const char* bracket) {
  if (depth_ == 0 || frames_[depth_ - 1].object != (*bracket == '}')) {
    state_ = State::kBroken;
    return;
  }
  node_ = frames_[--depth_].node;
  EndValue(bracket + 1);
}

// The value of node_ ended before `behind`.
void JsonPathReader::EndValue(const char* behind) {
  if (depth_ == 0) {
    state_ = State::kDone;
    return;
  }
  if (depth_ == 1 && frames_[0].object && node_ != kNoNode &&
      table_->nodes[node_].field == kUsage) {
    findings_.usage_member = {usage_at_, Position(behind) - usage_at_};
  }
  state_ = State::kAfterValue;
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
  if (use_ == StringUse::kIgnore || use_ == StringUse::kCountOnly) return;
  if (kept_.size() + length <= kJsonTextBytesMax) kept_.append(bytes.data(), length);
}

void JsonPathReader::EmitRun(const char* from, const char* to) {
  if (from == to) return;
  FlushSurrogate();
  const auto length = static_cast<std::size_t>(to - from);
  string_bytes_ += length;
  if (use_ == StringUse::kIgnore || use_ == StringUse::kCountOnly) return;
  kept_.append(from, std::min(length, kJsonTextBytesMax - kept_.size()));
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
  if (!has_usage_) return clean;
  bool any = false;
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
  return clean;
}

Usage UsageTally::ToUsage(Dialect dialect) const { return Cleaned(dialect).usage; }

bool UsageTally::Inconsistent(Dialect dialect) const { return Cleaned(dialect).inconsistent; }

}  // namespace weir::dialect
