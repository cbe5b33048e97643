#include "dialect/failure_class.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "dialect/json_path.h"

namespace weir::dialect {
namespace {

constexpr std::int64_t kResetSecondsMax = 400LL * 24 * 3600;
// A 429 that lasts longer than this is a used-up window, whatever it is called: callers must not
// wait for it and the account must not be tried before.
constexpr Duration kBurstMax = Minutes(5);
constexpr std::int64_t kRetryAfterDefaultSeconds = 5;
// Longer values make SDKs ignore the header (Node takes 0..60 s) or give up (Python above 120 s).
constexpr std::int64_t kRetryAfterMaxSeconds = 60;

template <std::size_t N>
bool IsOneOf(std::string_view text, const std::array<std::string_view, N>& set) {
  return std::ranges::find(set, text) != set.end();
}

// Money, not time: OpenAI's list of 429 codes that are not retryable (platform docs, error codes,
// 2026), the older insufficient_quota and billing_*; Anthropic's details.error_code of spend
// limits, which come without retry-after (SDK 1.10.0 types).
constexpr auto kBillingCodes = std::to_array<std::string_view>({
    "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
    "billing_hard_limit_reached", "billing_not_active", "enforced_spend_limit_reached",
    "contract_spend_limit_reached", "billing_error",
    "insufficient_balance",  // quota.host
    "usage_not_included",    // Codex: the plan has no usage at all
});

// The credential itself is refused. API_KEY_INVALID is how Gemini words a bad key inside a 400.
constexpr auto kAuthCodes = std::to_array<std::string_view>({
    "invalid_api_key",
    "account_deactivated",
    "token_expired",
    "token_invalidated",
    "token_revoked",
    "invalid_authentication",
    "authentication_error",
    "UNAUTHENTICATED",
    "API_KEY_INVALID",
    "API_KEY_EXPIRED",
});

// A plan's window is used up. {"error":{"type":"usage_limit_reached","plan_type":"plus",
// "resets_at":1777936568,"resets_in_seconds":13872}} (codex2api#9, pi#4172, CLIProxyAPI#1666).
constexpr auto kWindowCodes = std::to_array<std::string_view>({
    "usage_limit_reached",
});

constexpr auto kOverloadCodes = std::to_array<std::string_view>({
    "server_is_overloaded",
    "service_unavailable_error",
    "overloaded_error",
    "UNAVAILABLE",
});

constexpr auto kBurstCodes = std::to_array<std::string_view>({
    "rate_limit_exceeded",
    "rate_limit_error",
    "slow_down",
    "ramp_limit_exceeded",
    "RESOURCE_EXHAUSTED",
    "requests",
    "tokens",
});

constexpr auto kModelCodes = std::to_array<std::string_view>({"model_not_found"});

// Codes of errors inside a stream that the request itself causes (OpenAI's ResponseErrorCode).
constexpr auto kCallerCodes = std::to_array<std::string_view>({
    "context_length_exceeded",
    "invalid_prompt",
    "invalid_request_error",
    "content_filter",
    "content_policy_violation",
    "previous_response_not_found",
    "invalid_image",
    "invalid_image_format",
    "invalid_base64_image",
    "invalid_image_url",
    "image_too_large",
    "image_too_small",
    "image_parse_error",
    "image_content_policy_violation",
    "invalid_image_mode",
    "image_file_too_large",
    "unsupported_image_media_type",
    "empty_image_file",
    "failed_to_download_image",
    "image_file_not_found",
    "request_too_large",
    "INVALID_ARGUMENT",
});

constexpr auto kServerCodes = std::to_array<std::string_view>({
    "server_error",
    "api_error",
    "internal_error",
    "timeout_error",
    "vector_store_timeout",
    "INTERNAL",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "UNKNOWN",
});

std::optional<std::int64_t> Digits(std::string_view& text) {
  std::size_t length = 0;
  std::int64_t value = 0;
  for (; length < text.size() && text[length] >= '0' && text[length] <= '9'; ++length) {
    // Saturates well above every bound used here.
    value = std::min<std::int64_t>(value * 10 + (text[length] - '0'), 1'000'000'000'000'000);
  }
  if (length == 0) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

std::optional<Duration> PositiveSeconds(std::int64_t seconds) {
  if (seconds <= 0) return std::nullopt;
  return Seconds(std::min(seconds, kResetSecondsMax));
}

// "12", "12.5" (rounded up).
std::optional<Duration> DecimalSeconds(std::string_view text) {
  const auto whole = Digits(text);
  if (!whole) return std::nullopt;
  if (text.empty()) return PositiveSeconds(*whole);
  if (text.front() != '.') return std::nullopt;
  text.remove_prefix(1);
  const auto fraction = Digits(text);
  if (!fraction || !text.empty()) return std::nullopt;
  return PositiveSeconds(*whole + (*fraction > 0 ? 1 : 0));
}

// "Wed, 21 Oct 2026 07:28:00 GMT", the one form of HTTP date that may still be sent (RFC 9110
// section 5.6.7). Unix seconds.
std::optional<std::int64_t> HttpDate(std::string_view text) {
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || !text.ends_with(" GMT") || text[3] != ',' || text[7] != ' ' ||
      text[11] != ' ' || text[16] != ' ' || text[19] != ':' || text[22] != ':') {
    return std::nullopt;
  }
  const auto number = [text](std::size_t at, std::size_t length) -> std::int64_t {
    std::string_view digits = text.substr(at, length);
    const auto value = Digits(digits);
    return value && digits.empty() ? *value : -1;
  };
  const auto month_at = kMonths.find(text.substr(8, 3));
  const std::int64_t day = number(5, 2);
  const std::int64_t year = number(12, 4);
  const std::int64_t hour = number(17, 2);
  const std::int64_t minute = number(20, 2);
  const std::int64_t second = number(23, 2);
  if (month_at == std::string_view::npos || month_at % 3 != 0 || day < 1 || year < 1970 ||
      hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{
      std::chrono::year(static_cast<int>(year)),
      std::chrono::month(static_cast<unsigned>(month_at / 3 + 1)),
      std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86'400 + hour * 3'600 + minute * 60 + second;
}

std::optional<Duration> UntilUnix(std::int64_t unix_seconds, Instant now) {
  return PositiveSeconds(unix_seconds - now.ns / 1'000'000'000);
}

// Go's durations, as OpenAI writes x-ratelimit-reset-*: "120ms", "6m0s", "1h2m3.5s"; also Gemini's
// retryDelay "27s". Rounded up to seconds.
std::optional<Duration> GoDuration(std::string_view text) {
  std::int64_t milliseconds = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto whole = Digits(text);
    if (!whole || *whole > kResetSecondsMax) return std::nullopt;
    bool fraction = false;
    if (text.starts_with('.')) {
      text.remove_prefix(1);
      const auto digits = Digits(text);
      if (!digits) return std::nullopt;
      fraction = *digits > 0;
    }
    std::int64_t unit = 0;
    std::size_t unit_length = 1;
    if (text.starts_with("ms")) {
      unit = 1;
      unit_length = 2;
    } else if (text.starts_with("s")) {
      unit = 1'000;
    } else if (text.starts_with("m")) {
      unit = 60'000;
    } else if (text.starts_with("h")) {
      unit = 3'600'000;
    } else {
      return std::nullopt;
    }
    text.remove_prefix(unit_length);
    // At most 400 days of hours per part, and parts are bounded by the text: no overflow below.
    milliseconds = std::min<std::int64_t>(milliseconds + (*whole + (fraction ? 1 : 0)) * unit,
                                          kResetSecondsMax * 1'000);
  }
  return PositiveSeconds((milliseconds + 999) / 1'000);
}

// retry-after-ms, retry-after (seconds or a date), then the limits that are used up, then what the
// body says (Gemini's RetryInfo).
std::optional<Duration> RetryAfter(const HeaderLookup& header, std::string_view retry_delay,
                                   Instant now) {
  std::string_view ms = header("retry-after-ms");
  if (const auto value = Digits(ms); value && (ms.empty() || ms.front() == '.')) {
    constexpr std::int64_t kDayMs = 86'400'000;  // beyond that milliseconds are no precision
    if (*value > 0) return *value < kDayMs ? Milliseconds(*value) : Seconds(kDayMs / 1000);
  }
  const std::string_view after = header("retry-after");
  if (const auto reset = DecimalSeconds(after)) return reset;
  if (const auto date = HttpDate(after)) return UntilUnix(*date, now);
  std::optional<Duration> longest;
  constexpr std::array<std::array<std::string_view, 2>, 2> kLimits{{
      {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
      {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
  }};
  for (const auto& [remaining, reset_name] : kLimits) {
    if (header(remaining) != "0") continue;
    const auto reset = GoDuration(header(reset_name));
    if (reset && (!longest || *reset > *longest)) longest = reset;
  }
  if (longest) return longest;
  return GoDuration(retry_delay);
}

// The Codex backend's two windows (five hours and a week). The longest one that is full decides;
// with `full_only` false and none full, the later reset of the two. reset-after-seconds is
// preferred to reset-at, which needs clocks that agree.
std::optional<Duration> CodexReset(const HeaderLookup& header, bool full_only, Instant now) {
  std::optional<Duration> full;
  std::int64_t full_minutes = -1;
  std::optional<Duration> later;
  struct Window {
    std::string_view used, minutes, after, at;
  };
  constexpr std::array<Window, 2> kWindows{{
      {"x-codex-primary-used-percent", "x-codex-primary-window-minutes",
       "x-codex-primary-reset-after-seconds", "x-codex-primary-reset-at"},
      {"x-codex-secondary-used-percent", "x-codex-secondary-window-minutes",
       "x-codex-secondary-reset-after-seconds", "x-codex-secondary-reset-at"},
  }};
  for (const auto& window : kWindows) {
    auto reset = DecimalSeconds(header(window.after));
    if (!reset) {
      std::string_view at = header(window.at);
      if (const auto unix_seconds = Digits(at); unix_seconds && at.empty()) {
        reset = UntilUnix(*unix_seconds, now);
      }
    }
    if (!reset) continue;
    if (!later || *reset > *later) later = reset;
    std::string_view used = header(window.used);
    std::string_view minutes_text = header(window.minutes);
    const std::int64_t minutes = Digits(minutes_text).value_or(0);
    if (Digits(used).value_or(0) >= 100 && minutes > full_minutes) {
      full = reset;
      full_minutes = minutes;
    }
  }
  if (full || full_only) return full;
  return later;
}

std::optional<Duration> BodyReset(const UpstreamErrorText& error, Instant now) {
  if (error.resets_in_seconds) {
    if (const auto reset = PositiveSeconds(*error.resets_in_seconds)) return reset;
  }
  if (error.resets_at) return UntilUnix(*error.resets_at, now);
  return std::nullopt;
}

// What the error's own words say; nothing when they are not known.
std::optional<FailureClass> ClassOfWords(const UpstreamErrorText& error) {
  // The code is more exact than the type: {"type":"rate_limit_error","code":"slow_down"}.
  for (const std::string_view word : {std::string_view(error.code), std::string_view(error.type)}) {
    if (word.empty()) continue;
    if (IsOneOf(word, kBillingCodes)) return FailureClass::kBillingDead;
    if (IsOneOf(word, kWindowCodes)) return FailureClass::kWindowExhausted;
    if (IsOneOf(word, kAuthCodes)) return FailureClass::kAuthDead;
    if (IsOneOf(word, kModelCodes)) return FailureClass::kModelGone;
    if (IsOneOf(word, kOverloadCodes)) return FailureClass::kOverloaded;
    if (IsOneOf(word, kBurstCodes)) return FailureClass::kBurst;
    if (IsOneOf(word, kCallerCodes)) return FailureClass::kCallersFault;
    if (IsOneOf(word, kServerCodes)) return FailureClass::kServerError;
  }
  return std::nullopt;
}

Retry RetryOf(FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::kNone:
    case FailureClass::kCallersFault:
      return Retry::kNever;
    case FailureClass::kServerError:
      return Retry::kSame;
    case FailureClass::kBurst:
    case FailureClass::kWindowExhausted:
    case FailureClass::kOverloaded:
    case FailureClass::kAuthDead:
    case FailureClass::kBillingDead:
    case FailureClass::kModelGone:
    case FailureClass::kUnknown:
      return Retry::kOther;
  }
  return Retry::kNever;
}

struct ErrorBody {
  UpstreamErrorText text;
  std::string reason;
  std::string retry_delay;
  bool json = false;  // one whole JSON document
};

ErrorBody ReadErrorBody(std::string_view body) {
  ErrorBody read;
  JsonPathReader reader(ErrorPaths());
  reader.Append(body);
  read.text.type = reader.Text(JsonField::kErrorType);
  read.text.code = reader.Text(JsonField::kErrorCode);
  read.text.message = reader.Text(JsonField::kErrorMessage);
  read.text.param = reader.Text(JsonField::kErrorParam);
  const auto& in = reader.findings().Count(JsonField::kResetsIn);
  const auto& at = reader.findings().Count(JsonField::kResetsAt);
  if (in.present) read.text.resets_in_seconds = in.value;
  if (at.present) read.text.resets_at = at.value;
  read.reason = reader.Text(JsonField::kErrorReason);
  read.retry_delay = reader.Text(JsonField::kErrorRetryDelay);
  read.json = reader.complete() && (body.find_first_of("{[") != std::string_view::npos);
  return read;
}

FailureClass ClassOf(Dialect dialect, int status, const ErrorBody& body,
                     std::string_view body_text) {
  const UpstreamErrorText& error = body.text;
  const std::string_view message = error.message;
  const auto words = ClassOfWords(error);
  // Words that are about the account are believed under any 4xx: vendors and the proxies before
  // them disagree on the status of "no money" and "bad key".
  if (status >= 400 && status < 500 && words) {
    switch (*words) {
      case FailureClass::kBillingDead:
      case FailureClass::kWindowExhausted:
      case FailureClass::kAuthDead:
      case FailureClass::kModelGone:
        return *words;
      default:
        break;
    }
  }
  switch (status) {
    case 400:
      // Gemini: a bad key is a 400 with details.reason API_KEY_INVALID.
      if (IsOneOf(body.reason, kAuthCodes)) return FailureClass::kAuthDead;
      if (dialect == Dialect::kAnthropicMessages &&
          (message.starts_with("You have reached your specified API usage limits") ||
           message.starts_with("Your credit balance is too low"))) {
        return FailureClass::kBillingDead;
      }
      // The Codex backend with an account whose plan lacks the model.
      if (message.find("is not supported when using Codex") != std::string_view::npos) {
        return FailureClass::kModelGone;
      }
      return FailureClass::kCallersFault;
    case 401:
      return FailureClass::kAuthDead;
    case 402:
      return FailureClass::kBillingDead;
    case 403:
      // A page that is not JSON is a firewall's or a proxy's and says nothing about the credential.
      if (!body_text.empty() && !body.json) return FailureClass::kServerError;
      return FailureClass::kAuthDead;
    case 404:
      // Anthropic: "model: claude-x"; Gemini: "models/x is not found for API version v1beta".
      if (message.starts_with("model:") || message.starts_with("models/")) {
        return FailureClass::kModelGone;
      }
      // Without JSON it is not the API that answered: a wrong base path.
      return body.json ? FailureClass::kCallersFault : FailureClass::kServerError;
    // Often a page of a proxy before the API, and still about the size of what the caller sent.
    case 413:
      return FailureClass::kCallersFault;
    case 408:
    case 499:
      return FailureClass::kServerError;
    case 429:
      // Gemini's daily quotas: quotaId GenerateRequestsPerDayPerProjectPerModel-...
      if (body.reason.find("PerDay") != std::string::npos) return FailureClass::kWindowExhausted;
      if (words == FailureClass::kOverloaded) return FailureClass::kOverloaded;
      return FailureClass::kBurst;
    case 503:
    case 529:
      return FailureClass::kOverloaded;
    default:
      break;
  }
  if (status >= 500 && status < 600) {
    return words == FailureClass::kOverloaded ? FailureClass::kOverloaded
                                              : FailureClass::kServerError;
  }
  if (status >= 400 && status < 500) {
    return body.json ? FailureClass::kCallersFault : FailureClass::kUnknown;
  }
  // Redirects are never followed: the credential must not travel to a host nobody configured.
  if (status >= 300 && status < 400) return FailureClass::kServerError;
  return status >= 200 && status < 300 ? FailureClass::kNone : FailureClass::kUnknown;
}

// Whether `body` is JSON in the error envelope of the dialect, so that the caller's SDK can read
// it.
bool HasErrorShape(Dialect dialect, std::string_view body) {
  if (body.size() > kErrorBodyBytesMax) return false;
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (parser.parse(body.data(), body.size(), true).get(document) != simdjson::SUCCESS) return false;
  simdjson::dom::object object;
  if (document.get_object().get(object) != simdjson::SUCCESS) return false;
  simdjson::dom::object error;
  if (object["error"].get_object().get(error) != simdjson::SUCCESS) return false;
  std::string_view message;
  if (error["message"].get_string().get(message) != simdjson::SUCCESS) return false;
  if (dialect != Dialect::kAnthropicMessages) return true;
  std::string_view type;
  return object["type"].get_string().get(type) == simdjson::SUCCESS && type == "error";
}

}  // namespace

UpstreamFailure Classify(Dialect dialect, int status, const HeaderLookup& header,
                         std::string_view body, Instant now) {
  const std::string_view bounded = body.substr(0, kErrorBodyBytesMax);
  ErrorBody read = ReadErrorBody(bounded);
  UpstreamFailure failure;
  failure.failure_class = ClassOf(dialect, status, read, bounded);
  failure.error = std::move(read.text);
  switch (failure.failure_class) {
    case FailureClass::kWindowExhausted:
      failure.reset = CodexReset(header, false, now);
      if (!failure.reset) failure.reset = BodyReset(failure.error, now);
      if (!failure.reset) failure.reset = RetryAfter(header, read.retry_delay, now);
      break;
    case FailureClass::kBurst:
      if (const auto full = CodexReset(header, true, now)) {
        failure.failure_class = FailureClass::kWindowExhausted;
        failure.reset = full;
        break;
      }
      failure.reset = RetryAfter(header, read.retry_delay, now);
      if (!failure.reset) failure.reset = BodyReset(failure.error, now);
      if (failure.reset && *failure.reset > kBurstMax) {
        failure.failure_class = FailureClass::kWindowExhausted;
      }
      break;
    case FailureClass::kOverloaded:
    case FailureClass::kServerError:
      failure.reset = RetryAfter(header, read.retry_delay, now);
      break;
    default:
      break;
  }
  failure.retry = RetryOf(failure.failure_class);
  return failure;
}

UpstreamFailure ClassifyStreamError(Dialect dialect, const UpstreamErrorText& error, Instant now) {
  UpstreamFailure failure;
  failure.error = error;
  if (const auto words = ClassOfWords(error)) {
    failure.failure_class = *words;
  } else if (dialect == Dialect::kGeminiGenerate) {
    std::string_view code = error.code;
    const auto status = Digits(code);
    if (status && code.empty() && *status >= 400 && *status < 600) {
      ErrorBody body;
      body.text = error;
      body.json = true;
      failure.failure_class = ClassOf(dialect, static_cast<int>(*status), body, "{}");
    }
  }
  failure.reset = BodyReset(error, now);
  if (failure.failure_class == FailureClass::kBurst && failure.reset &&
      *failure.reset > kBurstMax) {
    failure.failure_class = FailureClass::kWindowExhausted;
  }
  failure.retry = RetryOf(failure.failure_class);
  return failure;
}

FailureReply ShowFailure(Dialect dialect, const UpstreamFailure& failure, int status,
                         std::string_view body, bool body_whole) {
  FailureReply reply;
  const auto refuse = [&reply](Refusal refusal) {
    reply.refusal = refusal;
    reply.status = TextOf(refusal).status;
  };
  const auto wait = [&] {
    const std::int64_t seconds =
        failure.reset ? CeilSeconds(*failure.reset) : kRetryAfterDefaultSeconds;
    return std::clamp<std::int64_t>(seconds, 1, kRetryAfterMaxSeconds);
  };
  switch (failure.failure_class) {
    case FailureClass::kCallersFault:
      refuse(status == 413 ? Refusal::kBodyTooLarge : Refusal::kInvalidRequest);
      if (body_whole && status >= 400 && status < 500 && HasErrorShape(dialect, body)) {
        reply.pass_through = true;
        reply.status = status;
      }
      break;
    case FailureClass::kModelGone:
      // Not the upstream's words: they may name the operator's project ("Project `proj_...` does
      // not have access to model ...") and the name the model has there.
      refuse(Refusal::kModelNotFound);
      break;
    case FailureClass::kBurst:
      // Nor here: "Rate limit reached for ... in organization org-...".
      refuse(Refusal::kUpstreamRateLimited);
      reply.retry_after_seconds = wait();
      break;
    case FailureClass::kWindowExhausted:
      refuse(Refusal::kUsageLimitReached);
      // Not clamped: this is the true time, and clients that would wait for it should give up.
      reply.retry_after_seconds = failure.reset
                                      ? std::max<std::int64_t>(1, CeilSeconds(*failure.reset))
                                      : kRetryAfterMaxSeconds;
      reply.resets_in = Seconds(*reply.retry_after_seconds);
      break;
    case FailureClass::kOverloaded:
      refuse(Refusal::kUpstreamOverloaded);
      reply.retry_after_seconds = wait();
      break;
    case FailureClass::kAuthDead:
    case FailureClass::kBillingDead:
      // "Incorrect API key provided: sk-...abcd" is the operator's secret, not the caller's.
      refuse(Refusal::kUpstreamRejectedUs);
      break;
    case FailureClass::kServerError:
      refuse(status == 504 || status == 408 ? Refusal::kUpstreamTimeout : Refusal::kUpstreamError);
      break;
    case FailureClass::kNone:
    case FailureClass::kUnknown:
      refuse(Refusal::kUpstreamError);
      break;
  }
  return reply;
}

std::optional<Duration> ParseRetryAfter(std::string_view value, Instant now) {
  if (const auto seconds = DecimalSeconds(value)) return seconds;
  const auto date = HttpDate(value);
  return date ? UntilUnix(*date, now) : std::nullopt;
}

}  // namespace weir::dialect
