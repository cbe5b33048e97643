// A quota policy as its owner wrote it: for whom, of what, how much, until when, and what happens
// beyond. One record for each approved route, as the guide to quota management has it: owner,
// environment, route, unit, limit, approval, retry policy, logging, review cadence.
//
// Plain, checked, immutable values. What they decide is policy/'s; the counters behind them are the
// credit machine's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "config/zone.h"

namespace weir::config {

// What a policy may be about. Frozen: bits of a key's metadata on disk, and counters' names.
enum class Dimension : std::uint8_t {
  // Who asks, and what for: attributes of a key, or of a request whose key may say so.
  kKey = 0,  // the key's name
  kTeam = 1,
  kUser = 2,
  kCustomer = 3,
  kCustomerTier = 4,
  kWorkspace = 5,  // the key's
  kWorkflow = 6,
  kFeature = 7,
  kEnvironment = 8,  // dev, staging, production, batch, customer_facing; else the deployment's
  kCampaign = 9,
  // What is asked for: of the model and the endpoint.
  kProvider = 10,  // the upstream's name
  kModel = 11,     // its id
  kModelFamily = 12,
  kModelClass = 13,  // standard, premium, preview, deprecated, high_context
  kEndpoint = 14,    // responses, chat_completions, messages, generate_content, ...
  kModality = 15,    // text, image, video, audio, embeddings, batch
  kImageClass = 16,  // draft, preview, edit, final, retry
};
inline constexpr std::size_t kDimensions = 17;
inline constexpr std::array<std::string_view, kDimensions> kDimensionNames = {
    "key",          "team",        "user",        "customer", "customer_tier", "workspace",
    "workflow",     "feature",     "environment", "campaign", "provider",      "model",
    "model_family", "model_class", "endpoint",    "modality", "image_class"};

constexpr std::string_view Name(Dimension dimension) {
  return kDimensionNames[static_cast<std::size_t>(dimension)];
}
constexpr std::uint32_t BitOf(Dimension dimension) {
  return 1U << static_cast<std::uint32_t>(dimension);
}

// What a key may have as attributes, or its requests as metadata.
inline constexpr std::uint32_t kAttributeBits =
    BitOf(Dimension::kTeam) | BitOf(Dimension::kUser) | BitOf(Dimension::kCustomer) |
    BitOf(Dimension::kCustomerTier) | BitOf(Dimension::kWorkflow) | BitOf(Dimension::kFeature) |
    BitOf(Dimension::kEnvironment) | BitOf(Dimension::kCampaign) | BitOf(Dimension::kImageClass);
inline constexpr std::size_t kAttributeValueMax = 128;  // bytes, printable ASCII

// Values that some dimensions are limited to.
inline constexpr std::array<std::string_view, 6> kModalityNames = {"text",  "image",      "video",
                                                                   "audio", "embeddings", "batch"};
inline constexpr std::array<std::string_view, 5> kImageClassNames = {"draft", "preview", "edit",
                                                                     "final", "retry"};
// And those that others have by themselves, besides what the file adds: classes of its models;
// endpoints as the log names them, those to come included.
inline constexpr std::array<std::string_view, 5> kModelClassNames = {
    "standard", "premium", "preview", "deprecated", "high_context"};
inline constexpr std::array<std::string_view, 11> kEndpointNames = {
    "responses",          "responses_compact", "chat_completions", "messages",
    "generate_content",   "audio_speech",      "images_edits",     "audio_transcriptions",
    "images_generations", "video_generations", "embeddings"};

// One attribute; lists of them are sorted by dimension, each at most once.
struct Attribute {
  Dimension dimension = Dimension::kTeam;
  std::string value;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};

// What a policy counts. Frozen: in the journal.
enum class QuotaUnit : std::uint8_t {
  kRequests = 0,
  kInputTokens = 1,  // cached ones included
  kOutputTokens = 2,
  kTotalTokens = 3,
  kCachedTokens = 4,    // of the input, read from a cache
  kUncachedTokens = 5,  // the rest of the input
  kUsd = 6,             // steps of a nano-USD
  kCredits = 7,         // millionths of a USD; steps of a nano-USD
  kQuotaTokens = 8,     // tokens times the model's multiplier
  kConcurrent = 9,      // requests at once; nothing is ever used up
  kContextTokens = 10,  // of one request: its input
  kImages = 11,
  kVideoJobs = 12,
  kVideoSeconds = 13,  // steps of a millisecond
  kVideoRerenders = 14,
  kAudioSeconds = 15,  // steps of a millisecond
  kEmbeddings = 16,
  kAttempts = 17,          // calls of upstreams, whatever became of them
  kFallbackAttempts = 18,  // those after the first
  kFallbackSpend = 19,     // what failed attempts may have cost; steps of a nano-USD
};
inline constexpr std::size_t kQuotaUnits = 20;
inline constexpr std::array<std::string_view, kQuotaUnits> kQuotaUnitNames = {
    "requests",        "input_tokens", "output_tokens", "total_tokens",      "cached_tokens",
    "uncached_tokens", "usd",          "credits",       "quota_tokens",      "concurrent",
    "context_tokens",  "images",       "video_jobs",    "video_seconds",     "video_rerenders",
    "audio_seconds",   "embeddings",   "attempts",      "fallback_attempts", "fallback_spend"};

constexpr std::string_view Name(QuotaUnit unit) {
  return kQuotaUnitNames[static_cast<std::size_t>(unit)];
}
constexpr bool IsMoney(QuotaUnit unit) {
  return unit == QuotaUnit::kUsd || unit == QuotaUnit::kCredits ||
         unit == QuotaUnit::kFallbackSpend;
}
// So many steps are one of the unit as people write it.
constexpr std::int64_t StepsOf(QuotaUnit unit) {
  switch (unit) {
    case QuotaUnit::kUsd:
    case QuotaUnit::kFallbackSpend:
      return kNanoPerUsd;
    case QuotaUnit::kCredits:
    case QuotaUnit::kVideoSeconds:
    case QuotaUnit::kAudioSeconds:
      return 1'000;
    default:
      return 1;
  }
}
inline constexpr std::int64_t kQuotaMax = kMaxNanoUsd.n;  // of any limit, in steps

// Over what a policy counts. Frozen: part of a counter's identity.
enum class WindowKind : std::uint8_t {
  kMinute = 0,
  kHour = 1,
  kDay = 2,
  kWeek = 3,
  kMonth = 4,
  kCampaign = 5,  // from starts_at to ends_at; outside it the policy is not in force
  kLifetime = 6,
  kRequest = 7,  // each request alone; nothing is counted
  kAction = 8,   // one action of a user, which may take several requests
};

// 2024-01-01T00:00: midnight, a Monday and the first of a month, after the last change of any
// zone's clock by less than an hour that was for good (so that hours counted from it begin on the
// hour).
inline constexpr std::int64_t kDefaultAnchorSeconds = 1'704'067'200;

struct Window {
  WindowKind kind = WindowKind::kMonth;
  // The last so long, in steps of a sixtieth, instead of from one calendar moment to the next.
  bool sliding = false;
  std::int64_t every = 1;  // so many minutes, hours, days, weeks or months
  // A local moment at which a window begins, in seconds of local civil time since 1970-01-01; the
  // others are counted from it.
  std::int64_t anchor_seconds = kDefaultAnchorSeconds;
  std::shared_ptr<const Zone> zone;  // null: UTC
  std::optional<Instant> starts_at;  // of a campaign
  std::optional<Instant> ends_at;
};

// hard: what a request can cost at most is held, so the limit is never passed. firm: what such
// requests usually cost is held, so the limit may be passed by what those in flight cost above it.
enum class CapKind : std::uint8_t { kHard = 0, kFirm = 1 };

enum class PolicyAction : std::uint8_t {
  kBlock = 0,
  kDegrade = 1,   // to another model; refused only when that is over its limits too
  kApproval = 2,  // refused until somebody approves more
  kAlert = 3,     // never refused: alerts alone
};

enum class ReviewCadence : std::uint8_t { kNone = 0, kDaily = 1, kWeekly = 2, kMonthly = 3 };

// `dimension` is one of `values`.
struct Condition {
  Dimension dimension = Dimension::kKey;
  std::vector<std::string> values;  // sorted
  friend bool operator==(const Condition&, const Condition&) = default;
};

// Who may allow more, and how much.
struct ApprovalRule {
  std::vector<std::string> approvers;      // names of operators; empty: any who may approve
  std::string condition;                   // when, in words
  std::optional<std::int64_t> amount_max;  // of one approval, in steps
  Duration duration_max = Seconds(7 * 24 * 3600);
};

// Budgets of recovery for one action of a user.
struct RetryRule {
  std::optional<std::int64_t> attempts;           // the first included
  std::optional<std::int64_t> fallback_attempts;  // those after the first
  std::optional<NanoUsd> fallback_spend;
  // Names of failure classes after which no other attempt is made, besides those that never are
  // retried.
  std::vector<std::string> non_retryable;
};

inline constexpr std::size_t kAlertThresholdsMax = 8;

struct Policy {
  std::string id;                 // unique; the counters' name
  std::string owner;              // team or person who answers for the budget
  std::vector<Condition> match;   // all must hold; none: every request. Sorted by dimension
  std::vector<Condition> except;  // none may hold. Sorted likewise
  std::vector<Dimension> per;     // a counter for each of their values; none: one for all. Sorted
  QuotaUnit unit = QuotaUnit::kUsd;
  std::int64_t limit = 0;  // in steps of the unit
  CapKind cap = CapKind::kHard;
  Window window;
  PolicyAction action = PolicyAction::kBlock;
  std::string degrade_to;  // id of a model
  bool shadow = false;     // decides and logs, does not act
  // An output above a limit per request is shortened to it; false: refused.
  bool clamp = true;
  std::vector<std::int64_t> alert_percent = {50, 75, 90, 100};  // ascending, 1..100
  bool forecast = true;       // tell when the window will be used up before its end at this rate
  int over_limit_status = 0;  // 402 or 429; 0: 402 for money, 429 for what is counted
  ApprovalRule approval;
  RetryRule retry;
  std::vector<std::string> logging;  // fields the owner reads; all are logged
  ReviewCadence review = ReviewCadence::kMonthly;
  std::string contact;  // how to ask for more: a URL, an address, a sentence
  std::string note;
  std::uint32_t version = 0;  // 0 before it is known; else as written, or derived from the rest
  bool stored = false;        // made through the admin API, not by the file
};

// More of a policy for a time, because somebody approved it.
struct Raise {
  std::string approval;  // its id
  std::string policy;
  std::string values;       // of the counter it is for ("team=growth"); empty: every counter
  std::int64_t amount = 0;  // in steps
  Instant from;
  Instant to;
};

inline constexpr std::size_t kPoliciesMax = 10'000;
inline constexpr std::size_t kPolicyPerMax = 4;  // dimensions of `per`

}  // namespace weir::config
