// The options of `policies` and `webhooks`: a part of the table of options.cc.
#include <array>

#include "config/option_table.h"

namespace weir::config {
namespace {

using enum OptionType;

constexpr std::int64_t kMinute = 60'000'000'000;
constexpr std::int64_t kDay = 24 * 60 * kMinute;
constexpr std::int64_t kAllDimensions = (std::int64_t{1} << kDimensions) - 1;

// The choices are in the order of the enums, whose values are frozen.
static_assert(static_cast<int>(QuotaUnit::kFallbackSpend) == 19 && kQuotaUnits == 20);
static_assert(static_cast<int>(CapKind::kFirm) == 1);
static_assert(static_cast<int>(WindowKind::kAction) == 8);
static_assert(static_cast<int>(PolicyAction::kAlert) == 3);
static_assert(static_cast<int>(ReviewCadence::kMonthly) == 3);

const std::array kPolicyFields = {
    Field<Policy>{
        {.path = "policies[].id",
         .form = TextForm::kName,
         .min = 1,
         .max = 64,
         .help = "How replies, logs and reports call it. What it has counted is kept under "
                 "this name.",
         .required = true},
        [](Policy& p) -> ValueRef { return &p.id; }},
    Field<Policy>{{.path = "policies[].owner",
                   .max = 128,
                   .help = "The team or person who answers for the budget; replies name it."},
                  [](Policy& p) -> ValueRef { return &p.owner; }},
    Field<Policy>{{.path = "policies[].match",
                   .type = kConditions,
                   .fallback = "{}",
                   .max = kAllDimensions,
                   .help = "Which requests it is about: DIMENSION: VALUE or [VALUES]. All must "
                           "hold; {} is every request."},
                  [](Policy& p) -> ValueRef { return &p.match; }},
    Field<Policy>{{.path = "policies[].except",
                   .type = kConditions,
                   .fallback = "{}",
                   .max = kAllDimensions,
                   .help = "Which of them it is not about after all, written likewise: none may "
                           "hold."},
                  [](Policy& p) -> ValueRef { return &p.except; }},
    Field<Policy>{{.path = "policies[].per",
                   .type = kDimensionList,
                   .fallback = "[]",
                   .max = kAllDimensions,
                   .help = "The limit is for each of their values apart; at most 4. [] is one for "
                           "all together."},
                  [](Policy& p) -> ValueRef { return &p.per; }},
    Field<Policy>{{.path = "policies[].unit",
                   .type = kChoice,
                   .choices = "requests | input_tokens | output_tokens | total_tokens | "
                              "cached_tokens | uncached_tokens | usd | credits | quota_tokens | "
                              "concurrent | context_tokens | images | video_jobs | video_seconds | "
                              "video_rerenders | audio_seconds | embeddings | attempts | "
                              "fallback_attempts | fallback_spend",
                   .help = "What is counted. fallback_spend is USD that failed attempts may have "
                           "cost; credits are millionths of a USD.",
                   .required = true},
                  [](Policy& p) -> ValueRef { return &p.unit; }},
    Field<Policy>{{.path = "policies[].limit",
                   .type = kAmount,
                   .max = kQuotaMax,
                   .help = "How much of it: USD with at most nine decimals, seconds with at most "
                           "three, all else in whole numbers.",
                   .required = true},
                  [](Policy& p) -> ValueRef { return QuotaRef{p.unit, &p.limit, nullptr}; }},
    Field<Policy>{
        {.path = "policies[].cap",
         .type = kChoice,
         .fallback = "hard",
         .choices = "hard | firm",
         .help = "hard holds the most a request can cost, so the limit is never passed; "
                 "firm holds what such requests usually cost, so it may be passed by what "
                 "those under way cost above that."},
        [](Policy& p) -> ValueRef { return &p.cap; }},
    Field<Policy>{
        {.path = "policies[].window",
         .type = kChoice,
         .fallback = "month",
         .choices = "minute | hour | day | week | month | campaign | lifetime | request | "
                    "action",
         .help = "Over what it counts. Absent: lifetime for concurrent, request for "
                 "context_tokens, action for attempts, fallback_attempts and "
                 "fallback_spend, which take no other."},
        [](Policy& p) -> ValueRef { return &p.window.kind; }},
    Field<Policy>{{.path = "policies[].every",
                   .type = kCount,
                   .fallback = "1",
                   .min = 1,
                   .max = 1'000,
                   .help = "So many minutes, hours, days, weeks or months are one window."},
                  [](Policy& p) -> ValueRef { return &p.window.every; }},
    Field<Policy>{
        {.path = "policies[].sliding",
         .type = kFlag,
         .fallback = "false",
         .help = "The last so long, in steps of a sixtieth, instead of from one date to the "
                 "next; a month is then 30 days."},
        [](Policy& p) -> ValueRef { return &p.window.sliding; }},
    Field<Policy>{{.path = "policies[].anchor",
                   .type = kLocalTime,
                   .fallback = "2024-01-01T00:00",
                   .help = "A local time at which a window begins, from which the others are "
                           "counted; the default is a Monday. A day a month has not is its last."},
                  [](Policy& p) -> ValueRef { return &p.window.anchor_seconds; }},
    Field<Policy>{{.path = "policies[].timezone",
                   .type = kZone,
                   .fallback = "UTC",
                   .help = "Whose clocks say when a window begins: an IANA name, such as "
                           "Europe/Berlin. `weir policy windows` shows what follows."},
                  [](Policy& p) -> ValueRef { return &p.window.zone; }},
    Field<Policy>{{.path = "policies[].starts_at",
                   .type = kTime,
                   .help = "When a campaign begins; before it the policy is not in force."},
                  [](Policy& p) -> ValueRef { return &p.window.starts_at; }},
    Field<Policy>{{.path = "policies[].ends_at",
                   .type = kTime,
                   .help = "When it ends, from which on the policy is no longer in force."},
                  [](Policy& p) -> ValueRef { return &p.window.ends_at; }},
    Field<Policy>{
        {.path = "policies[].action",
         .type = kChoice,
         .fallback = "block",
         .choices = "block | degrade | approval | alert",
         .help = "What happens beyond the limit: a refusal; another model; a refusal until "
                 "somebody approves more; alerts alone."},
        [](Policy& p) -> ValueRef { return &p.action; }},
    Field<Policy>{{.path = "policies[].degrade_to",
                   .form = TextForm::kVisible,
                   .max = 128,
                   .help = "The id of the model that serves then, with action: degrade."},
                  [](Policy& p) -> ValueRef { return &p.degrade_to; }},
    Field<Policy>{{.path = "policies[].shadow",
                   .type = kFlag,
                   .fallback = "false",
                   .help = "Decides and logs, and does not act."},
                  [](Policy& p) -> ValueRef { return &p.shadow; }},
    Field<Policy>{{.path = "policies[].clamp",
                   .type = kFlag,
                   .fallback = "true",
                   .help = "A longer answer than is left is shortened to it; false refuses the "
                           "request."},
                  [](Policy& p) -> ValueRef { return &p.clamp; }},
    Field<Policy>{{.path = "policies[].alerts",
                   .type = kCountList,
                   .fallback = "[50, 75, 90, 100]",
                   .min = 1,
                   .max = 100,
                   .unit = "percent",
                   .help = "Told once in each window when so much of the limit is used: at most 8, "
                           "rising; [] is never."},
                  [](Policy& p) -> ValueRef { return &p.alert_percent; }},
    Field<Policy>{{.path = "policies[].forecast",
                   .type = kFlag,
                   .fallback = "true",
                   .help = "Tell also when the limit will be reached before the window ends if use "
                           "goes on like this."},
                  [](Policy& p) -> ValueRef { return &p.forecast; }},
    Field<Policy>{
        {.path = "policies[].over_limit_status",
         .type = kChoice,
         .choices = "402 | 429",
         .help = "The status of a refusal; absent: 402 where money is counted, else 429."},
        [](Policy& p) -> ValueRef { return &p.over_limit_status; }},
    Field<Policy>{{.path = "policies[].approval.approvers",
                   .type = kTextList,
                   .fallback = "[]",
                   .min = 1,
                   .max = 64,
                   .help = "Operators who may approve more; [] is any who may approve at all. "
                           "Nobody approves what they asked for."},
                  [](Policy& p) -> ValueRef { return &p.approval.approvers; }},
    Field<Policy>{{.path = "policies[].approval.condition",
                   .max = 512,
                   .help = "When more is approved, in words, for those who decide."},
                  [](Policy& p) -> ValueRef { return &p.approval.condition; }},
    Field<Policy>{
        {.path = "policies[].approval.amount_max",
         .type = kAmount,
         .max = kQuotaMax,
         .help = "The most that one approval may add, in the policy's unit; absent: any "
                 "amount."},
        [](Policy& p) -> ValueRef { return QuotaRef{p.unit, nullptr, &p.approval.amount_max}; }},
    Field<Policy>{{.path = "policies[].approval.duration_max",
                   .type = kDuration,
                   .fallback = "7d",
                   .min = kMinute,
                   .max = 400 * kDay,
                   .help = "The longest that one approval may hold."},
                  [](Policy& p) -> ValueRef { return &p.approval.duration_max; }},
    Field<Policy>{{.path = "policies[].retry.attempts",
                   .type = kCount,
                   .min = 1,
                   .max = 100,
                   .unit = "attempts",
                   .help = "For one action of a user, over all its requests, the first included; "
                           "absent: no bound but the file's."},
                  [](Policy& p) -> ValueRef { return &p.retry.attempts; }},
    Field<Policy>{{.path = "policies[].retry.fallback_attempts",
                   .type = kCount,
                   .max = 100,
                   .unit = "attempts",
                   .help = "Those after the first."},
                  [](Policy& p) -> ValueRef { return &p.retry.fallback_attempts; }},
    Field<Policy>{{.path = "policies[].retry.fallback_spend",
                   .type = kUsd,
                   .max = kMaxNanoUsd.n,
                   .help = "What failed attempts of one action may have cost before no other is "
                           "made."},
                  [](Policy& p) -> ValueRef { return &p.retry.fallback_spend; }},
    Field<Policy>{
        {.path = "policies[].retry.non_retryable",
         .type = kChoiceList,
         .fallback = "[]",
         .choices = "burst | window_exhausted | overloaded | auth_dead | billing_dead | "
                    "model_gone | server_error | unknown | timeout | connect_failed | "
                    "connection_lost",
         .help = "Failures after which no other attempt is made, besides those that never "
                 "are retried."},
        [](Policy& p) -> ValueRef { return &p.retry.non_retryable; }},
    Field<Policy>{{.path = "policies[].logging",
                   .type = kTextList,
                   .form = TextForm::kLowerName,
                   .fallback = "[]",
                   .min = 1,
                   .max = 64,
                   .help = "Fields of the log that the owner reads; all are logged."},
                  [](Policy& p) -> ValueRef { return &p.logging; }},
    Field<Policy>{{.path = "policies[].review",
                   .type = kChoice,
                   .fallback = "monthly",
                   .choices = "none | daily | weekly | monthly",
                   .help = "In which report its owner finds it."},
                  [](Policy& p) -> ValueRef { return &p.review; }},
    Field<Policy>{
        {.path = "policies[].contact",
         .max = 256,
         .help = "How to ask for more: a URL, an address or a sentence; refusals say it."},
        [](Policy& p) -> ValueRef { return &p.contact; }},
    Field<Policy>{{.path = "policies[].note", .max = 1'024, .help = "For those who read the file."},
                  [](Policy& p) -> ValueRef { return &p.note; }},
    Field<Policy>{{.path = "policies[].version",
                   .type = kCount,
                   .min = 1,
                   .max = UINT32_MAX,
                   .help = "Kept with every decision; absent: a number that follows from the rest, "
                           "the same on every start."},
                  [](Policy& p) -> ValueRef { return &p.version; }},
};

}  // namespace

std::span<const Field<Policy>> PolicyFields() { return kPolicyFields; }

}  // namespace weir::config
