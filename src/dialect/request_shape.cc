#include "dialect/request_shape.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "dialect/json_scan.h"

// simdjson's first stage finds every token of a body at gigabytes a second and checks that it is
// UTF-8 with closed strings and no bare control characters in them. The walk over those tokens is
// ours: simdjson's on-demand reader does not look into what it skips, and its tree reader does not
// say where a value stands. No simdjson object outlives an error here: the first stage is a
// function over plain arrays.

namespace weir::dialect {

namespace {

// Reserved at first; grows with the largest body seen, but see kKeptTokensMax.
constexpr std::size_t kCapacityMin = 16 << 10;
// Four bytes a token: what a reader keeps between bodies stays below 1 MiB.
constexpr std::size_t kCapacityKeptMax = 192 << 10;

// The members we act on. The order is that of kMembers.
enum class Member : std::uint8_t {
  kModel,
  kStream,
  kStreamOptions,
  kIncludeUsage,
  kMaxOutputTokens,
  kMaxCompletionTokens,
  kMaxTokens,
  kN,
  kSessionId,
  kConversationId,
  kConversation,
  kConversationObjectId,
  kPromptCacheKey,
  kPreviousResponseId,
  kTools,
  kReasoning,
  kEffort,
  kReasoningEffort,
  kGenerationConfig,
  kGeminiMaxOutput,
  kGeminiCount,
  kTurns,
  kServiceTier,
  kSpeed,
  kInferenceGeo,
  kOther,
};

constexpr unsigned kResponses = 1U << static_cast<unsigned>(Dialect::kOpenAiResponses);
constexpr unsigned kChat = 1U << static_cast<unsigned>(Dialect::kOpenAiChat);
constexpr unsigned kAnthropic = 1U << static_cast<unsigned>(Dialect::kAnthropicMessages);
constexpr unsigned kGemini = 1U << static_cast<unsigned>(Dialect::kGeminiGenerate);
constexpr unsigned kAll = kResponses | kChat | kAnthropic | kGemini;

struct MemberName {
  std::string_view name;
  Member member;
  Member parent;  // kOther: the body itself
  unsigned dialects;
  std::string_view param;  // as an error names it
};

// Gemini takes the names of its fields in either spelling (protobuf's JSON mapping), so both must
// be known, or a bound could be slipped past us.
constexpr MemberName kMembers[] = {
    {"model", Member::kModel, Member::kOther, kResponses | kChat | kAnthropic, "model"},
    {"stream", Member::kStream, Member::kOther, kResponses | kChat | kAnthropic, "stream"},
    {"stream_options", Member::kStreamOptions, Member::kOther, kChat, "stream_options"},
    {"include_usage", Member::kIncludeUsage, Member::kStreamOptions, kChat,
     "stream_options.include_usage"},
    {"max_output_tokens", Member::kMaxOutputTokens, Member::kOther, kResponses,
     "max_output_tokens"},
    {"max_completion_tokens", Member::kMaxCompletionTokens, Member::kOther, kChat,
     "max_completion_tokens"},
    {"max_tokens", Member::kMaxTokens, Member::kOther, kChat | kAnthropic, "max_tokens"},
    {"n", Member::kN, Member::kOther, kChat, "n"},
    {"session_id", Member::kSessionId, Member::kOther, kAll, "session_id"},
    {"conversation_id", Member::kConversationId, Member::kOther, kAll, "conversation_id"},
    {"conversation", Member::kConversation, Member::kOther, kResponses, "conversation"},
    {"id", Member::kConversationObjectId, Member::kConversation, kResponses, "conversation.id"},
    {"prompt_cache_key", Member::kPromptCacheKey, Member::kOther, kAll, "prompt_cache_key"},
    {"previous_response_id", Member::kPreviousResponseId, Member::kOther, kResponses,
     "previous_response_id"},
    {"tools", Member::kTools, Member::kOther, kAll, "tools"},
    {"input", Member::kTurns, Member::kOther, kResponses, "input"},
    {"messages", Member::kTurns, Member::kOther, kChat | kAnthropic, "messages"},
    {"contents", Member::kTurns, Member::kOther, kGemini, "contents"},
    {"service_tier", Member::kServiceTier, Member::kOther, kAll, "service_tier"},
    {"serviceTier", Member::kServiceTier, Member::kOther, kGemini, "service_tier"},
    {"speed", Member::kSpeed, Member::kOther, kAnthropic, "speed"},
    {"inference_geo", Member::kInferenceGeo, Member::kOther, kAnthropic, "inference_geo"},
    {"reasoning", Member::kReasoning, Member::kOther, kResponses, "reasoning"},
    {"output_config", Member::kReasoning, Member::kOther, kAnthropic, "output_config"},
    {"effort", Member::kEffort, Member::kReasoning, kResponses | kAnthropic, "reasoning.effort"},
    {"reasoning_effort", Member::kReasoningEffort, Member::kOther, kChat, "reasoning_effort"},
    {"generationConfig", Member::kGenerationConfig, Member::kOther, kGemini, "generationConfig"},
    {"generation_config", Member::kGenerationConfig, Member::kOther, kGemini, "generationConfig"},
    {"maxOutputTokens", Member::kGeminiMaxOutput, Member::kGenerationConfig, kGemini,
     "generationConfig.maxOutputTokens"},
    {"max_output_tokens", Member::kGeminiMaxOutput, Member::kGenerationConfig, kGemini,
     "generationConfig.maxOutputTokens"},
    {"candidateCount", Member::kGeminiCount, Member::kGenerationConfig, kGemini,
     "generationConfig.candidateCount"},
    {"candidate_count", Member::kGeminiCount, Member::kGenerationConfig, kGemini,
     "generationConfig.candidateCount"},
};
constexpr std::size_t kMemberNameBytesMax = 21;

// Whether some member's name has this first byte (its low five bits) and this length: most names of
// a body have not, and need no search.
constexpr std::array<std::uint32_t, kMemberNameBytesMax + 1> kNameLetters = [] {
  std::array<std::uint32_t, kMemberNameBytesMax + 1> letters{};
  for (const auto& known : kMembers) {
    letters[known.name.size()] |= 1U << (static_cast<unsigned char>(known.name[0]) & 31);
  }
  return letters;
}();

std::unexpected<ShapeError> BadJson(std::string_view what) {
  return std::unexpected(ShapeError{
      Refusal::kInvalidJson, fmt::format("The request body is not valid JSON: {}", what), {}});
}

std::unexpected<ShapeError> BadJsonAt(std::string_view what, std::size_t at) {
  return std::unexpected(
      ShapeError{Refusal::kInvalidJson,
                 fmt::format("The request body is not valid JSON: {} at byte {}", what, at),
                 {}});
}

std::unexpected<ShapeError> BadMember(std::string_view param, std::string_view what) {
  return std::unexpected(ShapeError{Refusal::kInvalidRequest,
                                    fmt::format("Invalid value for '{}': {}", param, what),
                                    std::string(param)});
}

// True for the byte behind a backslash of every escape but \u.
constexpr std::array<bool, 256> kShortEscapes = [] {
  std::array<bool, 256> table{};
  for (const unsigned char c : std::string_view("\"\\/bfnrt")) table[c] = true;
  return table;
}();

// Whether the inside of a string has only escapes that exist.
bool EscapesAreValid(std::string_view inside) {
  const char* at = inside.data();
  const char* const end = at + inside.size();
  while ((at = FindBackslash(at, end)) != end) {
    if (++at == end) return false;
    if (*at == 'u') {
      if (end - at < 5) return false;
      for (int i = 1; i <= 4; ++i) {
        if (HexDigit(at[i]) < 0) return false;
      }
      at += 5;
    } else if (kShortEscapes[static_cast<unsigned char>(*at)]) {
      ++at;
    } else {
      return false;
    }
  }
  return true;
}

// The text of a string whose escapes are valid; half a surrogate pair becomes U+FFFD. Stops before
// the text would exceed `bytes_max`.
std::string Decode(std::string_view inside, std::size_t bytes_max) {
  std::string text;
  std::size_t at = 0;
  const auto unit = [&inside](std::size_t digits) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value * 16 + static_cast<std::uint32_t>(HexDigit(inside[digits + i]));
    }
    return value;
  };
  while (at < inside.size() && text.size() < bytes_max) {
    if (inside[at] != '\\') {
      text += inside[at++];
      continue;
    }
    const char escape = inside[at + 1];
    at += 2;
    switch (escape) {
      case 'b':
        text += '\b';
        break;
      case 'f':
        text += '\f';
        break;
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case 't':
        text += '\t';
        break;
      case 'u': {
        std::uint32_t code_point = unit(at);
        at += 4;
        const bool pair =
            code_point >= 0xD800 && code_point < 0xDC00 && inside.substr(at).starts_with("\\u");
        const std::uint32_t low = pair ? unit(at + 2) : 0;
        if (low >= 0xDC00 && low < 0xE000) {
          code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
          at += 6;
        } else if (code_point >= 0xD800 && code_point < 0xE000) {
          code_point = 0xFFFD;
        }
        std::array<char, 4> bytes;
        text.append(bytes.data(), EncodeUtf8(code_point, bytes));
        break;
      }
      default:
        text += escape;
    }
  }
  return text;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// RFC 8259: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
bool IsNumber(std::string_view token) {
  std::size_t at = 0;
  const auto digits = [&token, &at] {
    const std::size_t from = at;
    while (at < token.size() && IsDigit(token[at])) ++at;
    return at > from;
  };
  if (at < token.size() && token[at] == '-') ++at;
  if (at < token.size() && token[at] == '0') {
    ++at;
  } else if (!digits()) {
    return false;
  }
  if (at < token.size() && token[at] == '.') {
    ++at;
    if (!digits()) return false;
  }
  if (at < token.size() && (token[at] == 'e' || token[at] == 'E')) {
    ++at;
    if (at < token.size() && (token[at] == '-' || token[at] == '+')) ++at;
    if (!digits()) return false;
  }
  return at == token.size();
}

// A number as an integer of 0..`max`, or nothing. Integers in other clothes (1.0, 1e3) are not
// taken: upstreams differ in what they make of them.
std::optional<std::int64_t> WholeNumber(std::string_view token, std::int64_t max) {
  if (token.empty()) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : token) {
    if (!IsDigit(c)) return std::nullopt;
    value = value * 10 + (c - '0');  // token digits are bounded by the next line: no overflow
    if (value > max) return std::nullopt;
  }
  return value;
}

// The walk over the tokens of one body.
class Walk {
 public:
  Walk(Dialect dialect, std::string_view body, const std::uint32_t* tokens, std::size_t count)
      : body_(body),
        tokens_(tokens),
        count_(count),
        dialect_bit_(1U << static_cast<unsigned>(dialect)) {
    shape_.dialect = dialect;
    const auto backslash = body.find('\\');
    next_backslash_ = std::min(backslash, body.size());
  }

  std::expected<RequestShape, ShapeError> Run();

 private:
  using Step = std::expected<void, ShapeError>;

  // Where the text of token `i` ends: before the next token and the white space between them.
  std::size_t TokenEnd(std::size_t i) const {
    std::size_t end = i + 1 < count_ ? tokens_[i + 1] : body_.size();
    while (end > tokens_[i] + 1 && IsJsonSpace(body_[end - 1])) --end;
    return end;
  }
  // The whole string at token `i` with its quotes, or nothing when something follows it or an
  // escape is wrong.
  std::optional<Span> ReadString(std::size_t i);
  const MemberName* Find(std::string_view name) const;
  Step Name(std::size_t i);
  Step StringValue(Span span);
  Step ScalarValue(std::size_t i);
  Step OpenObject(std::size_t i);
  Step OpenArray(std::size_t i);
  void Close(std::size_t i);
  Step Bound(std::string_view token, Span span);
  Step Finished();

  std::string_view Param() const { return param_; }
  bool InObject() const { return (objects_ & (1ULL << (depth_ - 1))) != 0; }

  std::string_view body_;
  const std::uint32_t* tokens_;
  std::size_t count_;
  unsigned dialect_bit_;
  std::size_t next_backslash_;  // the first one not yet behind us
  std::size_t depth_ = 0;
  std::uint64_t objects_ = 0;        // bit d: the container at depth d + 1 is an object
  Member member_ = Member::kOther;   // whose value comes next
  Member context_ = Member::kOther;  // the member whose object we are in, at depth 2
  std::string_view param_;           // of member_
  std::uint32_t seen_ = 0;           // bit per Member
  bool in_turns_ = false;            // inside the array of input items or messages
  OutputBound completion_bound_;     // chat's max_completion_tokens
  RequestShape shape_;
};

std::optional<Span> Walk::ReadString(std::size_t i) {
  const std::size_t open = tokens_[i];
  const std::size_t end = TokenEnd(i);
  if (end < open + 2 || body_[end - 1] != '"') return std::nullopt;
  if (next_backslash_ < end) {
    // Tokens come in order, so the search only ever goes forward.
    if (!EscapesAreValid(body_.substr(open + 1, end - open - 2))) return std::nullopt;
    next_backslash_ = std::min(body_.find('\\', end), body_.size());
  }
  return Span{open, end - open};
}

const MemberName* Walk::Find(std::string_view name) const {
  if (name.empty() || name.size() > kMemberNameBytesMax) return nullptr;
  const unsigned letter = static_cast<unsigned char>(name[0]) & 31;
  if ((kNameLetters[name.size()] >> letter & 1) == 0) return nullptr;
  for (const auto& known : kMembers) {
    if (known.name.size() == name.size() && known.name == name &&
        (known.dialects & dialect_bit_) != 0 && known.parent == context_) {
      return &known;
    }
  }
  return nullptr;
}

Walk::Step Walk::Name(std::size_t i) {
  member_ = Member::kOther;
  const bool had_escape = next_backslash_ < TokenEnd(i);
  const auto span = ReadString(i);
  if (!span) return BadJsonAt("a name is malformed", tokens_[i]);
  if (depth_ > 2 || (depth_ == 2 && context_ == Member::kOther)) return {};
  const std::string_view inside = body_.substr(span->at + 1, span->length - 2);
  // "mod\u0065l" is "model" for the upstream, so it must be for us.
  const MemberName* const known =
      had_escape ? Find(Decode(inside, kMemberNameBytesMax + 1)) : Find(inside);
  if (known == nullptr) return {};
  member_ = known->member;
  param_ = known->param;
  const std::uint32_t bit = 1U << static_cast<unsigned>(member_);
  if ((seen_ & bit) != 0) {
    // Priced by one of them and run by the other: whichever we took, the upstream may take another.
    return BadMember(param_, "it is given more than once");
  }
  seen_ |= bit;
  return {};
}

Walk::Step Walk::StringValue(Span span) {
  const std::string_view inside = body_.substr(span.at + 1, span.length - 2);
  const auto text = [&] { return Decode(inside, kSignalBytesMax); };
  switch (member_) {
    case Member::kModel: {
      std::string model = Decode(inside, kModelBytesMax + 1);
      if (model.empty()) break;  // as if it were missing
      if (model.size() > kModelBytesMax) {
        return BadMember("model", fmt::format("it is longer than {} bytes", kModelBytesMax));
      }
      const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
      if (std::ranges::any_of(model, control)) {
        return BadMember("model", "it contains control characters");
      }
      shape_.has_model = true;
      shape_.model = std::move(model);
      shape_.model_value = span;
      break;
    }
    case Member::kSessionId:
      shape_.session_id = text();
      break;
    case Member::kConversationId:
      shape_.conversation_id = text();
      break;
    case Member::kConversation:
    case Member::kConversationObjectId:
      if (shape_.conversation_id.empty()) shape_.conversation_id = text();
      break;
    case Member::kPromptCacheKey:
      shape_.prompt_cache_key = text();
      break;
    case Member::kPreviousResponseId:
      shape_.previous_response_id = text();
      break;
    case Member::kEffort:
    case Member::kReasoningEffort:
      shape_.reasoning_effort = text();
      shape_.reasoning_effort_value = span;
      break;
    case Member::kServiceTier:
      shape_.service_tier = text();
      break;
    case Member::kSpeed:
      shape_.speed = text();
      break;
    case Member::kInferenceGeo:
      shape_.inference_geo = text();
      break;
    case Member::kTurns:
      shape_.turns = 1;
      break;
    case Member::kStream:
    case Member::kIncludeUsage:
      return BadMember(Param(), "expected a boolean, got a string");
    case Member::kStreamOptions:
    case Member::kGenerationConfig:
      return BadMember(Param(), "expected an object, got a string");
    case Member::kMaxOutputTokens:
    case Member::kMaxCompletionTokens:
    case Member::kMaxTokens:
    case Member::kGeminiMaxOutput:
    case Member::kN:
    case Member::kGeminiCount:
      return BadMember(Param(), "expected an integer, got a string");
    default:
      break;
  }
  return {};
}

// max_output_tokens and its kin.
Walk::Step Walk::Bound(std::string_view token, Span span) {
  OutputBound bound{.key = OutputBoundKey::kNone, .tokens = 0, .value = span};
  if (token != "null") {
    const auto tokens = WholeNumber(token, kTokensMax);
    if (!tokens || *tokens < 1) {
      return BadMember(Param(), "expected an integer of at least 1 and at most 2^53");
    }
    bound.tokens = *tokens;
  }
  switch (member_) {
    case Member::kMaxOutputTokens:
      bound.key = OutputBoundKey::kMaxOutputTokens;
      break;
    case Member::kGeminiMaxOutput:
      bound.key = OutputBoundKey::kGeminiMaxOutput;
      break;
    case Member::kMaxCompletionTokens:
      bound.key = OutputBoundKey::kMaxCompletionTokens;
      completion_bound_ = bound;
      return {};
    default:
      bound.key = OutputBoundKey::kMaxTokens;
      break;
  }
  shape_.output = bound;
  return {};
}

// A number, true, false or null.
Walk::Step Walk::ScalarValue(std::size_t i) {
  const std::size_t at = tokens_[i];
  const Span span{at, TokenEnd(i) - at};
  const std::string_view token = body_.substr(span.at, span.length);
  const bool literal = token == "true" || token == "false" || token == "null";
  if (!literal && !IsNumber(token)) return BadJsonAt("unexpected characters", at);
  switch (member_) {
    case Member::kModel:
      if (token != "null") return BadMember(Param(), "expected a string");
      break;
    case Member::kStream:
    case Member::kIncludeUsage:
      if (!literal) return BadMember(Param(), "expected a boolean, got a number");
      if (member_ == Member::kStream) {
        shape_.stream = token == "true";
      } else {
        shape_.include_usage = token == "true";
        shape_.include_usage_value = span;
      }
      break;
    case Member::kStreamOptions:
      if (token != "null") return BadMember(Param(), "expected an object");
      shape_.stream_options_value = span;
      break;
    case Member::kGenerationConfig:
      if (token != "null") return BadMember(Param(), "expected an object");
      shape_.generation_config_value = span;
      break;
    case Member::kMaxOutputTokens:
    case Member::kMaxCompletionTokens:
    case Member::kMaxTokens:
    case Member::kGeminiMaxOutput:
      return Bound(token, span);
    case Member::kN:
    case Member::kGeminiCount: {
      if (token == "null") break;
      const auto choices = WholeNumber(token, kChoicesMax);
      if (!choices || *choices < 1) {
        return BadMember(Param(), fmt::format("expected an integer between 1 and {}", kChoicesMax));
      }
      shape_.choices = *choices;
      break;
    }
    default:
      break;
  }
  return {};
}

Walk::Step Walk::OpenObject(std::size_t i) {
  const std::size_t behind = tokens_[i] + 1;
  const bool empty = i + 1 < count_ && body_[tokens_[i + 1]] == '}';
  if (depth_ == 0) {
    shape_.after_open = behind;
    shape_.empty_object = empty;
  } else {
    switch (member_) {
      case Member::kModel:
        return BadMember(Param(), "expected a string, got an object");
      case Member::kStream:
      case Member::kIncludeUsage:
        return BadMember(Param(), "expected a boolean, got an object");
      case Member::kMaxOutputTokens:
      case Member::kMaxCompletionTokens:
      case Member::kMaxTokens:
      case Member::kGeminiMaxOutput:
      case Member::kN:
      case Member::kGeminiCount:
        return BadMember(Param(), "expected an integer, got an object");
      case Member::kStreamOptions:
        shape_.has_stream_options = true;
        shape_.stream_options_open = behind;
        shape_.stream_options_empty = empty;
        shape_.stream_options_value.at = behind - 1;
        break;
      case Member::kGenerationConfig:
        shape_.generation_config_open = behind;
        shape_.generation_config_empty = empty;
        shape_.generation_config_value.at = behind - 1;
        break;
      default:
        break;
    }
    if (depth_ == 1) context_ = member_;
    if (depth_ == 2 && in_turns_) ++shape_.turns;
  }
  if (depth_ == kJsonDepthMax) {
    return BadJson(fmt::format("it is nested deeper than {}", kJsonDepthMax));
  }
  objects_ |= 1ULL << depth_;
  ++depth_;
  return {};
}

Walk::Step Walk::OpenArray(std::size_t i) {
  switch (member_) {
    case Member::kModel:
      return BadMember(Param(), "expected a string, got an array");
    case Member::kStream:
    case Member::kIncludeUsage:
      return BadMember(Param(), "expected a boolean, got an array");
    case Member::kStreamOptions:
    case Member::kGenerationConfig:
      return BadMember(Param(), "expected an object, got an array");
    case Member::kMaxOutputTokens:
    case Member::kMaxCompletionTokens:
    case Member::kMaxTokens:
    case Member::kGeminiMaxOutput:
    case Member::kN:
    case Member::kGeminiCount:
      return BadMember(Param(), "expected an integer, got an array");
    case Member::kTools:
      shape_.has_tools = i + 1 < count_ && body_[tokens_[i + 1]] != ']';
      break;
    default:
      break;
  }
  if (depth_ == kJsonDepthMax) {
    return BadJson(fmt::format("it is nested deeper than {}", kJsonDepthMax));
  }
  objects_ &= ~(1ULL << depth_);
  ++depth_;
  if (depth_ == 2) {
    context_ = Member::kOther;
    in_turns_ = member_ == Member::kTurns;
  }
  return {};
}

void Walk::Close(std::size_t i) {
  --depth_;
  if (depth_ != 1) return;
  const std::size_t behind = tokens_[i] + 1;
  if (context_ == Member::kStreamOptions) {
    shape_.stream_options_value.length = behind - shape_.stream_options_value.at;
  } else if (context_ == Member::kGenerationConfig) {
    shape_.generation_config_value.length = behind - shape_.generation_config_value.at;
  }
  context_ = Member::kOther;
  in_turns_ = false;
}

Walk::Step Walk::Finished() {
  if (completion_bound_.key != OutputBoundKey::kNone) {
    shape_.output_second = shape_.output;
    shape_.output = completion_bound_;
  }
  if (!shape_.has_model && shape_.dialect != Dialect::kGeminiGenerate) {
    return std::unexpected(
        ShapeError{Refusal::kInvalidRequest, "You must provide a model parameter", "model"});
  }
  return {};
}

// The grammar of RFC 8259 over the tokens: what may come next is one of four states.
std::expected<RequestShape, ShapeError> Walk::Run() {
  enum class Expect : std::uint8_t { kValue, kFirstName, kName, kFirstElement, kCommaOrEnd };
  if (count_ == 0 || body_[tokens_[0]] != '{') {
    return std::unexpected(
        ShapeError{Refusal::kInvalidJson, "The request body must be a JSON object", {}});
  }
  Expect expect = Expect::kValue;
  for (std::size_t i = 0; i < count_; ++i) {
    const std::size_t at = tokens_[i];
    const char c = body_[at];
    if (depth_ == 0 && i > 0) return BadJsonAt("something follows the object", at);
    switch (expect) {
      case Expect::kFirstName:
        if (c == '}') {
          Close(i);
          expect = Expect::kCommaOrEnd;
          break;
        }
        [[fallthrough]];
      case Expect::kName:
        if (c != '"') return BadJsonAt("expected a name in quotes", at);
        if (auto step = Name(i); !step) return std::unexpected(std::move(step.error()));
        if (++i == count_ || body_[tokens_[i]] != ':') return BadJsonAt("expected ':'", at);
        expect = Expect::kValue;
        break;
      case Expect::kFirstElement:
        if (c == ']') {
          Close(i);
          expect = Expect::kCommaOrEnd;
          break;
        }
        [[fallthrough]];
      case Expect::kValue: {
        expect = Expect::kCommaOrEnd;
        Step step;
        if (c == '"') {
          const auto span = ReadString(i);
          if (!span) return BadJsonAt("a string is malformed", at);
          if (member_ != Member::kOther) step = StringValue(*span);
        } else if (c == '{') {
          step = OpenObject(i);
          expect = Expect::kFirstName;
        } else if (c == '[') {
          step = OpenArray(i);
          expect = Expect::kFirstElement;
        } else {
          step = ScalarValue(i);
        }
        if (!step) return std::unexpected(std::move(step.error()));
        member_ = Member::kOther;
        break;
      }
      case Expect::kCommaOrEnd:
        if (c == ',') {
          expect = InObject() ? Expect::kName : Expect::kValue;
        } else if (c == (InObject() ? '}' : ']')) {
          Close(i);
        } else {
          return BadJsonAt("expected ',' or a closing bracket", at);
        }
        break;
    }
  }
  if (depth_ != 0) return BadJson("it ends too early");
  if (auto step = Finished(); !step) return std::unexpected(std::move(step.error()));
  return std::move(shape_);
}

}  // namespace

struct RequestReader::Buffers {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> parser;
};

RequestReader::RequestReader() : buffers_(std::make_unique<Buffers>()) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

std::expected<RequestShape, ShapeError> RequestReader::Read(Dialect dialect,
                                                            std::string_view body) {
  if (body.empty()) {
    return std::unexpected(ShapeError{
        Refusal::kInvalidJson, "The request body is empty; a JSON object is expected", {}});
  }
  if (body.size() > (std::size_t{1} << 31)) return BadJson("it is too long");
  auto& parser = buffers_->parser;
  const std::size_t capacity = std::max(kCapacityMin, std::bit_ceil(body.size()));
  simdjson::error_code code = simdjson::SUCCESS;
  if (!parser) {
    code = simdjson::get_active_implementation()->create_dom_parser_implementation(capacity, 1,
                                                                                   parser);
  } else if (parser->capacity() < body.size()) {
    code = parser->allocate(capacity, 1);
  }
  if (code != simdjson::SUCCESS) {
    parser.reset();
    return std::unexpected(
        ShapeError{Refusal::kInternal, "There is no memory to read the request body", {}});
  }
  code = parser->stage1(reinterpret_cast<const std::uint8_t*>(body.data()), body.size(),
                        simdjson::stage1_mode::regular);
  const auto result = [&]() -> std::expected<RequestShape, ShapeError> {
    switch (code) {
      case simdjson::SUCCESS:
        return Walk(dialect, body, parser->structural_indexes.get(), parser->n_structural_indexes)
            .Run();
      case simdjson::UTF8_ERROR:
        return BadJson("it is not UTF-8");
      case simdjson::UNCLOSED_STRING:
        return BadJson("a string is not closed");
      case simdjson::UNESCAPED_CHARS:
        return BadJson("a string has a bare control character");
      case simdjson::EMPTY:
        return std::unexpected(ShapeError{
            Refusal::kInvalidJson, "The request body is empty; a JSON object is expected", {}});
      default:
        return BadJson("it cannot be read");
    }
  }();
  if (parser->capacity() > kCapacityKeptMax) parser.reset();
  return result;
}

}  // namespace weir::dialect
