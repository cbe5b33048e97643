#include "config/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "config/option_table.h"
#include "config/policy_text.h"
#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr std::int64_t kNs = 1;
constexpr std::int64_t kMs = 1'000'000 * kNs;
constexpr std::int64_t kSecond = 1'000 * kMs;
constexpr std::int64_t kHour = 3'600 * kSecond;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kGiB = 1 << 30;
constexpr std::int64_t kBillion = 1'000'000'000;
constexpr std::int64_t kConcurrencyMax = 1'000'000;

using enum OptionType;

// The fallbacks are repeated in config.h as the members' initialisers, which is what code that
// needs no file uses; options_test holds the two equal.
const std::array kConfigFields = {
    Field<Config>{{.path = "environment",
                   .form = TextForm::kLowerName,
                   .fallback = "production",
                   .min = 1,
                   .max = 32,
                   .help = "Keys of another environment are not valid here."},
                  [](Config& c) -> ValueRef { return &c.environment; }},
    Field<Config>{{.path = "listen",
                   .type = kAddress,
                   .fallback = "127.0.0.1:8080",
                   .help = "Where callers connect; port 0 takes any free one.",
                   .effect = Effect::kRestart},
                  [](Config& c) -> ValueRef { return &c.listen; }},
    Field<Config>{{.path = "workers",
                   .type = kCount,
                   .fallback = "0",
                   .max = 256,
                   .unit = "threads",
                   .help = "Threads that serve callers; 0 is one per core.",
                   .effect = Effect::kRestart},
                  [](Config& c) -> ValueRef { return &c.workers; }},
    Field<Config>{{.path = "data_dir",
                   .fallback = "weir-data",
                   .min = 1,
                   .max = 4096,
                   .help = "The directory of the ledger, the keys and the request log.",
                   .effect = Effect::kRestart},
                  [](Config& c) -> ValueRef { return &c.data_dir; }},
    Field<Config>{{.path = "durability",
                   .type = kChoice,
                   .fallback = "process",
                   .choices = "process | power",
                   .help = "What the ledger survives: a kill of the process, or a power cut too.",
                   .effect = Effect::kRestart},
                  [](Config& c) -> ValueRef { return &c.durability; }},
    Field<Config>{{.path = "on_hang_up",
                   .type = kChoice,
                   .fallback = "abort_and_bill_observed",
                   .choices = "abort_and_bill_observed | abort_and_void | drain_and_bill",
                   .help = "When a caller hangs up: stop and charge what was delivered, stop and "
                           "charge nothing, or let the upstream finish and charge it all."},
                  [](Config& c) -> ValueRef { return &c.hang_up_rule; }},
    Field<Config>{{.path = "useful_output_tokens_min",
                   .type = kCount,
                   .fallback = "256",
                   .min = 1,
                   .max = 1'000'000,
                   .unit = "tokens",
                   .help = "A budget that leaves room for fewer output tokens refuses the request "
                           "instead of shortening the answer."},
                  [](Config& c) -> ValueRef { return &c.useful_output_tokens_min; }},
    Field<Config>{{.path = "concurrency",
                   .type = kCount,
                   .fallback = "0",
                   .max = kConcurrencyMax,
                   .unit = "calls",
                   .help = "Calls to upstreams at once, of the whole node; 0 is no limit."},
                  [](Config& c) -> ValueRef { return &c.concurrency; }},
    Field<Config>{{.path = "price_files",
                   .type = kTextList,
                   .min = 1,
                   .max = 4096,
                   .help = "Files of prices for models with `price: catalog`, beside this file; a "
                           "later one wins. `weir prices import` writes them."},
                  [](Config& c) -> ValueRef { return &c.price_files; }},
    Field<Config>{{.path = "price_ceiling",
                   .type = kPrice,
                   .help = "What a model with `price: catalog` costs that no price file knows, "
                           "written as models[].price; absent: such a model is refused."},
                  [](Config&) -> ValueRef { return std::monostate(); }},
    Field<Config>{{.path = "metadata_secret",
                   .type = kSecret,
                   .form = TextForm::kVisible,
                   .min = 16,
                   .max = 512,
                   .help = "What your own services sign with what they say of a request (user, "
                           "workflow, ...), so that policies believe it; write ${NAME}. Empty: "
                           "nothing signed is believed."},
                  [](Config& c) -> ValueRef { return &c.metadata_secret; }},
    Field<Config>{{.path = "fallback.attempts",
                   .type = kCount,
                   .fallback = "10",
                   .min = 1,
                   .max = 100,
                   .unit = "attempts",
                   .help = "Accounts one request is tried at. When each of them answered with a "
                           "limit, it is tried as often again, after a wait in the queue."},
                  [](Config& c) -> ValueRef { return &c.fallback.attempts; }},
    Field<Config>{{.path = "fallback.spend_percent",
                   .type = kCount,
                   .fallback = "300",
                   .max = 10'000,
                   .unit = "percent",
                   .help = "No further attempt once those that failed may have cost you this share "
                           "of what is held for the request. One that may be billed (no reply in "
                           "time, a broken or empty one) counts as the whole hold, one that was "
                           "turned away as nothing."},
                  [](Config& c) -> ValueRef { return &c.fallback.spend_percent; }},
    Field<Config>{{.path = "brand.name",
                   .fallback = "Weir",
                   .min = 1,
                   .max = 64,
                   .help = "How the deployment calls itself in pages and messages."},
                  [](Config& c) -> ValueRef { return &c.brand.name; }},
    Field<Config>{{.path = "brand.key_prefix",
                   .form = TextForm::kKeyPrefix,
                   .fallback = "wr_",
                   .max = 32,
                   .help = "What new keys begin with; {env} stands for the environment."},
                  [](Config& c) -> ValueRef { return &c.brand.key_prefix; }},
    Field<Config>{{.path = "brand.header_prefix",
                   .form = TextForm::kHeaderPrefix,
                   .fallback = "x-weir",
                   .min = 1,
                   .max = 32,
                   .help = "What the gateway's own response headers begin with."},
                  [](Config& c) -> ValueRef { return &c.brand.header_prefix; }},
    Field<Config>{{.path = "brand.docs_url",
                   .form = TextForm::kWebPage,
                   .max = 256,
                   .help = "A page for your users, named in error bodies; none by default."},
                  [](Config& c) -> ValueRef { return &c.brand.docs_url; }},
    Field<Config>{{.path = "admin.listen",
                   .type = kAddress,
                   .fallback = "127.0.0.1:8081",
                   .help = "Where the admin API and /metrics are; keep it on loopback.",
                   .effect = Effect::kRestart},
                  [](Config& c) -> ValueRef { return &c.admin; }},
    Field<Config>{{.path = "limits.body_bytes_max",
                   .type = kBytes,
                   .fallback = "32MiB",
                   .min = 1024,
                   .max = kGiB,
                   .help = "The largest request body."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.body_bytes_max; }},
    Field<Config>{{.path = "limits.connections_max",
                   .type = kCount,
                   .fallback = "20000",
                   .min = 1,
                   .max = 1'000'000,
                   .unit = "connections",
                   .help = "Callers connected at once."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.connections_max; }},
    Field<Config>{{.path = "limits.header_deadline",
                   .type = kDuration,
                   .fallback = "10s",
                   .min = 100 * kMs,
                   .max = 600 * kSecond,
                   .help = "For the head of a request, from its first byte."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.header_deadline; }},
    Field<Config>{{.path = "limits.idle_deadline",
                   .type = kDuration,
                   .fallback = "75s",
                   .min = 100 * kMs,
                   .max = kDay,
                   .help = "Between two requests of a connection."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.idle_deadline; }},
    Field<Config>{{.path = "limits.body_stall_deadline",
                   .type = kDuration,
                   .fallback = "10s",
                   .min = 100 * kMs,
                   .max = kHour,
                   .help = "After this long a body must arrive at body_bytes_per_second_min."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.body_stall_deadline; }},
    Field<Config>{{.path = "limits.body_bytes_per_second_min",
                   .type = kBytes,
                   .fallback = "1KiB",
                   .min = 0,
                   .max = kGiB,
                   .help = "The slowest body that is waited for; 0 waits for any."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.body_bytes_per_second_min; }},
    Field<Config>{{.path = "limits.write_stall_deadline",
                   .type = kDuration,
                   .fallback = "30s",
                   .min = 100 * kMs,
                   .max = kHour,
                   .help = "For a caller that does not read its reply."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.write_stall_deadline; }},
    Field<Config>{
        {.path = "limits.requests_per_connection_max",
         .type = kCount,
         .fallback = "1000",
         .min = 1,
         .max = kBillion,
         .unit = "requests",
         .help = "Then the connection is closed, so that load spreads again."},
        [](Config& c) -> ValueRef { return &c.caller_limits.requests_per_connection_max; }},
    Field<Config>{{.path = "limits.heartbeat_interval",
                   .type = kDuration,
                   .fallback = "10s",
                   .min = 100 * kMs,
                   .max = kHour,
                   .help = "A comment is sent on a stream that was silent this long."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.heartbeat_interval; }},
    Field<Config>{{.path = "limits.drain_deadline",
                   .type = kDuration,
                   .fallback = "10m",
                   .min = 0,
                   .max = kDay,
                   .help = "How long open streams may go on after SIGTERM."},
                  [](Config& c) -> ValueRef { return &c.caller_limits.drain_deadline; }},
    Field<Config>{{.path = "key_defaults.requests_per_minute",
                   .type = kCount,
                   .fallback = "100",
                   .max = kBillion,
                   .unit = "requests",
                   .help = "For keys without a limit of their own; 0 is no limit."},
                  [](Config& c) -> ValueRef { return &c.key_defaults.requests_per_minute; }},
    Field<Config>{{.path = "key_defaults.tokens_per_minute",
                   .type = kCount,
                   .fallback = "0",
                   .max = 1'000 * kBillion,
                   .unit = "tokens",
                   .help = "For keys without a limit of their own; 0 is no limit."},
                  [](Config& c) -> ValueRef { return &c.key_defaults.tokens_per_minute; }},
    Field<Config>{{.path = "key_defaults.concurrent_requests",
                   .type = kCount,
                   .fallback = "0",
                   .max = 1'000'000,
                   .unit = "requests",
                   .help = "For keys without a limit of their own; 0 is no limit."},
                  [](Config& c) -> ValueRef { return &c.key_defaults.concurrent_requests; }},
    Field<Config>{{.path = "key_defaults.budget",
                   .type = kUsd,
                   .max = kMaxNanoUsd.n,
                   .help = "For keys without a budget of their own; absent or none is no cap."},
                  [](Config& c) -> ValueRef { return &c.key_defaults.budget; }},
    Field<Config>{{.path = "log.exchanges",
                   .type = kFlag,
                   .fallback = "true",
                   .help = "One line of JSON for each exchange, on standard error."},
                  [](Config& c) -> ValueRef { return &c.log_exchanges; }},
};

const std::array kUpstreamFields = {
    Field<Upstream>{{.path = "upstreams[].name",
                     .form = TextForm::kName,
                     .min = 1,
                     .max = 64,
                     .help = "How routes, pools, logs and metrics call it.",
                     .required = true},
                    [](Upstream& u) -> ValueRef { return &u.name; }},
    Field<Upstream>{{.path = "upstreams[].kind",
                     .type = kChoice,
                     .fallback = "openai",
                     .choices = "sandbox | openai | anthropic | gemini",
                     .help = "What it speaks, so what it can be asked: the calls of that family. "
                             "sandbox answers those of openai in process without a network."},
                    [](Upstream& u) -> ValueRef { return &u.kind; }},
    Field<Upstream>{{.path = "upstreams[].base_url",
                     .type = kUrl,
                     .help = "Where its API is, for example https://api.openai.com/v1, "
                             "https://api.anthropic.com/v1 or "
                             "https://generativelanguage.googleapis.com/v1beta; needed unless kind "
                             "is sandbox."},
                    [](Upstream& u) -> ValueRef { return &u; }},
    Field<Upstream>{{.path = "upstreams[].api_key",
                     .type = kSecret,
                     .form = TextForm::kVisible,
                     .max = 4096,
                     .help = "Sent as a bearer token, as x-api-key (anthropic) or as "
                             "x-goog-api-key (gemini); write ${NAME} rather than the key itself. "
                             "Empty sends none. For one account; several are listed in accounts."},
                    [](Upstream& u) -> ValueRef { return &u.api_key; }},
    Field<Upstream>{{.path = "upstreams[].ca_file",
                     .max = 4096,
                     .help = "PEM file of the authorities to trust; absent trusts the system's."},
                    [](Upstream& u) -> ValueRef { return &u.ca_file; }},
    Field<Upstream>{{.path = "upstreams[].concurrency",
                     .type = kCount,
                     .fallback = "0",
                     .max = kConcurrencyMax,
                     .unit = "calls",
                     .help = "Calls at once over all its accounts; 0 is no limit."},
                    [](Upstream& u) -> ValueRef { return &u.concurrency; }},
    Field<Upstream>{{.path = "upstreams[].connect_deadline",
                     .type = kDuration,
                     .fallback = "5s",
                     .min = 10 * kMs,
                     .max = 600 * kSecond,
                     .help = "For a name, a connection and a TLS handshake."},
                    [](Upstream& u) -> ValueRef { return &u.connect_deadline; }},
    Field<Upstream>{{.path = "upstreams[].first_byte_deadline",
                     .type = kDuration,
                     .fallback = "10m",
                     .min = 10 * kMs,
                     .max = kDay,
                     .help = "From the request to the first byte of the reply."},
                    [](Upstream& u) -> ValueRef { return &u.first_byte_deadline; }},
    Field<Upstream>{{.path = "upstreams[].event_deadline",
                     .type = kDuration,
                     .fallback = "2m",
                     .min = 10 * kMs,
                     .max = kDay,
                     .help = "Between two pieces of a reply."},
                    [](Upstream& u) -> ValueRef { return &u.event_deadline; }},
    Field<Upstream>{{.path = "upstreams[].health_probe",
                     .type = kDuration,
                     .fallback = "1m",
                     .min = 0,
                     .max = kDay,
                     .help = "How often an account is asked for its models (GET /models) while it "
                             "rests for a refused credential or a dead connection, or as long as "
                             "no call has used it. 0s: never."},
                    [](Upstream& u) -> ValueRef { return &u.health_probe; }},
    Field<Upstream>{{.path = "upstreams[].total_deadline",
                     .type = kDuration,
                     .fallback = "30m",
                     .min = 10 * kMs,
                     .max = kDay,
                     .help = "For a whole call."},
                    [](Upstream& u) -> ValueRef { return &u.total_deadline; }},
    Field<Upstream>{{.path = "upstreams[].reply_bytes_max",
                     .type = kBytes,
                     .fallback = "64MiB",
                     .min = 1024,
                     .max = 4 * kGiB,
                     .help = "The largest JSON reply; streams are bounded by event."},
                    [](Upstream& u) -> ValueRef { return &u.reply_bytes_max; }},
};

const std::array kAccountFields = {
    // Account::id until the parser puts the upstream's name before it.
    Field<Account>{{.path = "upstreams[].accounts[].name",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "Pools, logs and metrics call it UPSTREAM/NAME.",
                    .required = true},
                   [](Account& a) -> ValueRef { return &a.id; }},
    Field<Account>{{.path = "upstreams[].accounts[].api_key",
                    .type = kSecret,
                    .form = TextForm::kVisible,
                    .max = 4096,
                    .help = "As upstreams[].api_key. Needed unless kind is sandbox; empty sends "
                            "none."},
                   [](Account& a) -> ValueRef { return &a.api_key; }},
    Field<Account>{{.path = "upstreams[].accounts[].enabled",
                    .type = kFlag,
                    .fallback = "true",
                    .help = "false takes it out of use."},
                   [](Account& a) -> ValueRef { return &a.enabled; }},
    Field<Account>{{.path = "upstreams[].accounts[].draining",
                    .type = kFlag,
                    .fallback = "false",
                    .help = "true gives it no new call and lets those in progress finish."},
                   [](Account& a) -> ValueRef { return &a.draining; }},
    Field<Account>{{.path = "upstreams[].accounts[].models",
                    .type = kTextList,
                    .form = TextForm::kVisible,
                    .fallback = "[]",
                    .min = 1,
                    .max = 128,
                    .help = "The models it serves, by the ids callers name; [] is all that have a "
                            "route to its upstream."},
                   [](Account& a) -> ValueRef { return &a.models; }},
    Field<Account>{
        {.path = "upstreams[].accounts[].capabilities",
         .type = kChoiceList,
         .fallback = "[responses, chat, transcription, messages, generate_content]",
         .choices = "responses | chat | transcription | messages | generate_content",
         .help = "What it can be asked for; audioTranscription is another name of transcription."},
        [](Account& a) -> ValueRef { return &a.capabilities; }},
    Field<Account>{{.path = "upstreams[].accounts[].weight",
                    .type = kCount,
                    .fallback = "1",
                    .min = 1,
                    .max = 1000,
                    .help = "Its share of the calls beside accounts of the same priority."},
                   [](Account& a) -> ValueRef { return &a.weight; }},
    Field<Account>{{.path = "upstreams[].accounts[].priority",
                    .type = kCount,
                    .fallback = "50",
                    .max = 1000,
                    .help = "Lower ones are used first; higher ones when those are full or "
                            "cooling."},
                   [](Account& a) -> ValueRef { return &a.priority; }},
    Field<Account>{{.path = "upstreams[].accounts[].concurrency",
                    .type = kCount,
                    .fallback = "0",
                    .max = kConcurrencyMax,
                    .unit = "calls",
                    .help = "Calls at once; 0 is no limit."},
                   [](Account& a) -> ValueRef { return &a.concurrency; }},
    Field<Account>{{.path = "upstreams[].accounts[].requests_per_minute",
                    .type = kCount,
                    .fallback = "0",
                    .max = kBillion,
                    .unit = "requests",
                    .help = "What the provider allows it; 0 is no limit."},
                   [](Account& a) -> ValueRef { return &a.requests_per_minute; }},
    Field<Account>{{.path = "upstreams[].accounts[].tokens_per_minute",
                    .type = kCount,
                    .fallback = "0",
                    .max = 1'000 * kBillion,
                    .unit = "tokens",
                    .help = "What the provider allows it; 0 is no limit."},
                   [](Account& a) -> ValueRef { return &a.tokens_per_minute; }},
    Field<Account>{{.path = "upstreams[].accounts[].expires_at",
                    .type = kTime,
                    .help = "The moment from which it is no longer used."},
                   [](Account& a) -> ValueRef { return &a.expires_at; }},
    Field<Account>{{.path = "upstreams[].accounts[].reserved_for",
                    .type = kTextList,
                    .form = TextForm::kName,
                    .fallback = "[]",
                    .min = 1,
                    .max = 64,
                    .help = "Names of keys of this file that alone use it, before the pools they "
                            "share; [] is shared."},
                   [](Account& a) -> ValueRef { return &a.keys; }},
    Field<Account>{{.path = "upstreams[].accounts[].profile",
                    .type = kChoice,
                    .fallback = "openai_api",
                    .choices = "openai_api | responses_strict",
                    .help = "What its backend takes: all of OpenAI's API, or streamed responses "
                            "with few parameters only."},
                   [](Account& a) -> ValueRef { return &a.adapt; }},
    Field<Account>{{.path = "upstreams[].accounts[].proxy",
                    .type = kProxy,
                    .help = "An HTTP proxy its calls go through; absent: none."},
                   [](Account& a) -> ValueRef { return &a.proxy; }},
};

// The members of a pool and of a package are indices, found by name once every account is known.
const std::array kPoolFields = {
    Field<Pool>{{.path = "pools[].name",
                 .form = TextForm::kName,
                 .min = 1,
                 .max = 64,
                 .help = "How packages, logs and metrics call it. Without packages every key has "
                         "the first pool.",
                 .required = true},
                [](Pool& p) -> ValueRef { return &p.name; }},
    Field<Pool>{{.path = "pools[].accounts",
                 .type = kTextList,
                 .min = 1,
                 .max = 129,
                 .help = "UPSTREAM/ACCOUNT, UPSTREAM when it has an api_key of its own, "
                         "\"UPSTREAM/*\" or \"*\"; absent: all. Reserved accounts are in none."},
                [](Pool&) -> ValueRef { return std::monostate(); }},
    Field<Pool>{{.path = "pools[].concurrency",
                 .type = kCount,
                 .fallback = "0",
                 .max = kConcurrencyMax,
                 .unit = "calls",
                 .help = "Calls at once over all its accounts; 0 is no limit."},
                [](Pool& p) -> ValueRef { return &p.concurrency; }},
    Field<Pool>{{.path = "pools[].queue.size",
                 .type = kCount,
                 .fallback = "0",
                 .max = 1'000'000,
                 .unit = "requests",
                 .help = "How many may wait for an account; 0: nobody waits."},
                [](Pool& p) -> ValueRef { return &p.queue.size; }},
    Field<Pool>{{.path = "pools[].queue.per_key",
                 .type = kCount,
                 .fallback = "10",
                 .min = 1,
                 .max = 1'000'000,
                 .unit = "requests",
                 .help = "How many of one key may."},
                [](Pool& p) -> ValueRef { return &p.queue.per_key; }},
    Field<Pool>{{.path = "pools[].queue.wait",
                 .type = kDuration,
                 .fallback = "30s",
                 .min = 10 * kMs,
                 .max = kHour,
                 .help = "How long; then the answer is 429 capacity_queue_timeout."},
                [](Pool& p) -> ValueRef { return &p.queue.wait; }},
};

const std::array kPackageFields = {
    Field<Package>{{.path = "packages[].name",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "How keys and workspaces call it. The first package is that of keys "
                            "without one.",
                    .required = true},
                   [](Package& p) -> ValueRef { return &p.name; }},
    Field<Package>{{.path = "packages[].pools",
                    .type = kTextList,
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "Pools in the order they are asked; the first one's queue is waited "
                            "in.",
                    .required = true},
                   [](Package&) -> ValueRef { return std::monostate(); }},
    Field<Package>{{.path = "packages[].wallet",
                    .type = kChoice,
                    .fallback = "none",
                    .choices = "none | quota_tokens | usd",
                    .help = "What calls of its keys are paid from besides their budgets: the "
                            "prepaid wallet of the key's workspace, or the key's own when it has "
                            "none."},
                   [](Package& p) -> ValueRef { return &p.wallet; }},
    Field<Package>{{.path = "packages[].wallet_low",
                    .type = kCount,
                    .fallback = "0",
                    .max = kBillion * 1'000,
                    .help = "A wallet below it is told in the log and counted, once until it is "
                            "filled: quota tokens, or millionths of a USD; 0 is never."},
                   [](Package& p) -> ValueRef { return &p.wallet_low; }},
    Field<Package>{{.path = "packages[].hold",
                    .type = kChoice,
                    .fallback = "strict",
                    .choices = "strict | adaptive",
                    .help = "What is held before a call: all it can cost, or what such calls of "
                            "the key usually cost, with more while a stream runs; one that "
                            "outgrows what pays for it is cut."},
                   [](Package& p) -> ValueRef { return &p.hold; }},
};

const std::array kWorkspaceFields = {
    Field<Workspace>{{.path = "workspaces[].name",
                      .form = TextForm::kName,
                      .min = 1,
                      .max = 64,
                      .help = "Keys of one workspace belong together: their sessions may meet.",
                      .required = true},
                     [](Workspace& w) -> ValueRef { return &w.name; }},
    Field<Workspace>{{.path = "workspaces[].package",
                      .form = TextForm::kName,
                      .min = 1,
                      .max = 64,
                      .help = "Of its keys that name none; absent: the first."},
                     [](Workspace& w) -> ValueRef { return &w.package; }},
};

const std::array kModelFields = {
    Field<Model>{{.path = "models[].id",
                  .form = TextForm::kVisible,
                  .min = 1,
                  .max = 128,
                  .help = "As callers name it; \"*\" takes every name no other model has.",
                  .required = true},
                 [](Model& m) -> ValueRef { return &m.id; }},
    Field<Model>{{.path = "models[].routes",
                  .type = kRouteList,
                  .help = "Where it is served, tried in this order: names of upstreams, or "
                          "{upstream: NAME, model: ITS_NAME_THERE}. May be left out when there is "
                          "one upstream."},
                 [](Model&) -> ValueRef { return std::monostate(); }},
    Field<Model>{{.path = "models[].owned_by", .max = 64, .help = "Shown by GET /models."},
                 [](Model& m) -> ValueRef { return &m.owned_by; }},
    Field<Model>{{.path = "models[].family",
                  .form = TextForm::kName,
                  .max = 64,
                  .help = "Models that policies mean together, such as gpt-5: model_family."},
                 [](Model& m) -> ValueRef { return &m.family; }},
    Field<Model>{{.path = "models[].class",
                  .form = TextForm::kName,
                  .fallback = "standard",
                  .min = 1,
                  .max = 64,
                  .help = "standard, premium, preview, deprecated, high_context or a word of your "
                          "own: model_class of policies."},
                 [](Model& m) -> ValueRef { return &m.model_class; }},
    Field<Model>{{.path = "models[].created",
                  .type = kCount,
                  .fallback = "0",
                  .max = 9'000 * kBillion,
                  .unit = "unix seconds",
                  .help = "Shown by GET /models."},
                 [](Model& m) -> ValueRef { return &m.created; }},
    Field<Model>{{.path = "models[].capabilities",
                  .type = kChoiceList,
                  .fallback = "[responses, chat]",
                  .choices = "responses | chat | transcription | messages | generate_content",
                  .help = "What it can be asked for: messages is Anthropic's call, "
                          "generate_content Gemini's. The model \"*\" has all but transcription "
                          "when this is left out."},
                 [](Model& m) -> ValueRef { return &m.capabilities; }},
    Field<Model>{{.path = "models[].permission",
                  .form = TextForm::kName,
                  .min = 1,
                  .max = 64,
                  .help = "What a key must be allowed to use it, besides openai, anthropic or "
                          "gemini, which the call itself needs."},
                 [](Model& m) -> ValueRef { return &m.permission; }},
    Field<Model>{
        {.path = "models[].price",
         .type = kPrice,
         .help = "What its use costs, as below; or a list of such, each with the time from "
                 "which it is charged; or the word catalog: what price_files say, by the "
                 "names of its upstreams or its id."},
        [](Model&) -> ValueRef { return std::monostate(); }},
    Field<Model>{{.path = "models[].on_hang_up",
                  .type = kChoice,
                  .choices = "abort_and_bill_observed | abort_and_void | drain_and_bill",
                  .help = "What happens when a caller of this model hangs up; absent: the file's "
                          "on_hang_up. Receipts name it."},
                 [](Model& m) -> ValueRef { return &m.on_hang_up; }},
    Field<Model>{{.path = "models[].multiplier",
                  .type = kMultiplier,
                  .fallback = "1.00",
                  .max = 1'000'000'000,
                  .help = "What a wallet is charged for it: its tokens, or its price, times this."},
                 [](Model& m) -> ValueRef { return &m.multiplier; }},
    Field<Model>{{.path = "models[].service_tiers",
                  .type = kTextList,
                  .form = TextForm::kName,
                  .fallback = "[]",
                  .min = 1,
                  .max = 64,
                  .help = "Dearer kinds of service that callers may ask for by service_tier, speed "
                          "or inference_geo, such as priority, fast, us. The price must then be "
                          "that of the dearest; a call that asks for another one is refused."},
                 [](Model& m) -> ValueRef { return &m.service_tiers; }},
    Field<Model>{{.path = "models[].output_tokens_max",
                  .type = kCount,
                  .fallback = "128000",
                  .min = 1,
                  .max = kBillion,
                  .unit = "tokens",
                  .help = "The longest answer it gives: what a hold is bounded by."},
                 [](Model& m) -> ValueRef { return &m.output_tokens_max; }},
    Field<Model>{{.path = "models[].input_tokens_max",
                  .type = kCount,
                  .fallback = "400000",
                  .min = 1,
                  .max = kBillion,
                  .unit = "tokens",
                  .help = "The longest input it takes: what a hold is bounded by."},
                 [](Model& m) -> ValueRef { return &m.input_tokens_max; }},
};

const std::array kPriceFields = {
    Field<PriceVersion>{{.path = "models[].price.valid_from",
                         .type = kTime,
                         .help = "From when on it is charged, in a list of prices; only the first "
                                 "may have none. What a request began under is what it pays."},
                        [](PriceVersion& v) -> ValueRef { return &v.valid_from; }},
    Field<PriceVersion>{{.path = "models[].price.input",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of input tokens. A model without a price is not served.",
                         .required = true},
                        [](PriceVersion& v) -> ValueRef { return &v.price.input; }},
    Field<PriceVersion>{{.path = "models[].price.cached_input",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of input tokens read from a cache; absent: as input."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.cached_input; }},
    Field<PriceVersion>{{.path = "models[].price.cache_write",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of input tokens written to a cache; absent: as input."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.cache_write; }},
    Field<PriceVersion>{
        {.path = "models[].price.cache_write_1h",
         .type = kUsdPerMillion,
         .max = kTokenRateMax.p,
         .help = "Of those that the cache keeps for an hour; absent: as cache_write."},
        [](PriceVersion& v) -> ValueRef { return &v.price.cache_write_1h; }},
    Field<PriceVersion>{{.path = "models[].price.input_audio",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of input tokens that are audio; absent: as input."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.input_audio; }},
    Field<PriceVersion>{{.path = "models[].price.output",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of output tokens.",
                         .required = true},
                        [](PriceVersion& v) -> ValueRef { return &v.price.output; }},
    Field<PriceVersion>{{.path = "models[].price.reasoning",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of output tokens that are reasoning; absent: as output."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.reasoning; }},
    Field<PriceVersion>{{.path = "models[].price.output_audio",
                         .type = kUsdPerMillion,
                         .max = kTokenRateMax.p,
                         .help = "Of output tokens that are audio; absent: as output."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.output_audio; }},
    Field<PriceVersion>{{.path = "models[].price.request",
                         .type = kUsd,
                         .fallback = "0",
                         .max = kUnitPriceMax.n,
                         .help = "Of each request, besides its tokens."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.per_request; }},
    Field<PriceVersion>{{.path = "models[].price.audio_second",
                         .type = kUsd,
                         .fallback = "0",
                         .max = kUnitPriceMax.n,
                         .help = "Of each second of audio that is transcribed, besides its tokens. "
                                 "A model sold by the second has 0 for those."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.audio_second; }},
    Field<PriceVersion>{{.path = "models[].price.video_second",
                         .type = kUsd,
                         .fallback = "0",
                         .max = kUnitPriceMax.n,
                         .help = "Of each second of video that is made."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.video_second; }},
    Field<PriceVersion>{
        {.path = "models[].price.tool_call",
         .type = kUsd,
         .fallback = "0",
         .max = kUnitPriceMax.n,
         .help = "Of each search or other tool that the provider runs and bills one by one."},
        [](PriceVersion& v) -> ValueRef { return &v.price.tool_call; }},
    Field<PriceVersion>{{.path = "models[].price.version",
                         .type = kCount,
                         .min = 1,
                         .max = UINT32_MAX,
                         .help = "Kept with every charge; absent: a number that follows from the "
                                 "rates, the same on every start."},
                        [](PriceVersion& v) -> ValueRef { return &v.price.version; }},
};

const std::array kTierFields = {
    Field<PriceTier>{{.path = "models[].price.tiers[].above_input_tokens",
                      .type = kCount,
                      .min = 1,
                      .max = kTierTokensMax,
                      .unit = "tokens",
                      .help = "With more input than this the rates of the tier are those of the "
                              "whole request. No rate may fall from one tier to the next.",
                      .required = true},
                     [](PriceTier& t) -> ValueRef { return &t.above_input_tokens; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].input",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.input; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].cached_input",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.cached_input; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].cache_write",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.cache_write; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].cache_write_1h",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.cache_write_1h; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].input_audio",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.input_audio; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].output",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.output; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].reasoning",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.reasoning; }},
    Field<PriceTier>{{.path = "models[].price.tiers[].output_audio",
                      .type = kUsdPerMillion,
                      .max = kTokenRateMax.p,
                      .help = "Absent: as below the tier."},
                     [](PriceTier& t) -> ValueRef { return &t.rates.output_audio; }},
};

const std::array kImageFields = {
    Field<ImagePrice>{{.path = "models[].price.images[].size",
                       .form = TextForm::kVisible,
                       .min = 1,
                       .max = kImageTextMax,
                       .help = "Such as 1024x1024; absent: any."},
                      [](ImagePrice& i) -> ValueRef { return &i.size; }},
    Field<ImagePrice>{{.path = "models[].price.images[].quality",
                       .form = TextForm::kVisible,
                       .min = 1,
                       .max = kImageTextMax,
                       .help = "Such as high; absent: any."},
                      [](ImagePrice& i) -> ValueRef { return &i.quality; }},
    Field<ImagePrice>{{.path = "models[].price.images[].price",
                       .type = kUsd,
                       .max = kUnitPriceMax.n,
                       .help = "Of each image of this size and quality. An image of a kind that is "
                               "not listed is charged as the dearest.",
                       .required = true},
                      [](ImagePrice& i) -> ValueRef { return &i.each; }},
};

const std::array kDowngradeFields = {
    Field<Downgrade>{{.path = "models[].downgrade.to",
                      .form = TextForm::kVisible,
                      .min = 1,
                      .max = 128,
                      .help = "The id of the model that serves simple and standard calls under "
                              "pressure; a complex one only thinks one step less.",
                      .required = true},
                     [](Downgrade& d) -> ValueRef { return &d.to; }},
    Field<Downgrade>{{.path = "models[].downgrade.above",
                      .type = kCount,
                      .fallback = "80",
                      .min = 1,
                      .max = 100,
                      .unit = "percent",
                      .help = "How full the pool must be, its queue included."},
                     [](Downgrade& d) -> ValueRef { return &d.above_percent; }},
};

const std::array kKeyFields = {
    Field<KeySpec>{{.path = "keys[].name",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "A key of this name is made at the first start if there is none.",
                    .required = true},
                   [](KeySpec& k) -> ValueRef { return &k.name; }},
    Field<KeySpec>{{.path = "keys[].environment",
                    .form = TextForm::kLowerName,
                    .max = 32,
                    .help = "Where it is valid; absent: in the deployment's environment."},
                   [](KeySpec& k) -> ValueRef { return &k.environment; }},
    Field<KeySpec>{{.path = "keys[].permissions",
                    .type = kTextList,
                    .form = TextForm::kName,
                    .fallback = "[openai]",
                    .min = 1,
                    .max = 64,
                    .help = "What it may use; [] is nothing but the list of models."},
                   [](KeySpec& k) -> ValueRef { return &k.permissions; }},
    Field<KeySpec>{{.path = "keys[].models",
                    .type = kTextList,
                    .form = TextForm::kVisible,
                    .fallback = "[]",
                    .min = 1,
                    .max = 128,
                    .help = "The models it may see and use; [] is all."},
                   [](KeySpec& k) -> ValueRef { return &k.models; }},
    Field<KeySpec>{{.path = "keys[].expires_at",
                    .type = kTime,
                    .help = "The moment from which it is no longer valid."},
                   [](KeySpec& k) -> ValueRef { return &k.expires_at; }},
    Field<KeySpec>{{.path = "keys[].workspace",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "The workspace it belongs to; absent: one of its own."},
                   [](KeySpec& k) -> ValueRef { return &k.workspace; }},
    Field<KeySpec>{{.path = "keys[].package",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "The package it has; absent: its workspace's."},
                   [](KeySpec& k) -> ValueRef { return &k.package; }},
    Field<KeySpec>{{.path = "keys[].codex_adaptation",
                    .type = kFlag,
                    .fallback = "false",
                    .help = "Its requests are put into the form a Codex-style backend takes."},
                   [](KeySpec& k) -> ValueRef { return &k.codex_adaptation; }},
    Field<KeySpec>{{.path = "keys[].allow_downgrade",
                    .type = kFlag,
                    .fallback = "true",
                    .help = "Whether models[].downgrade holds for it."},
                   [](KeySpec& k) -> ValueRef { return &k.allow_downgrade; }},
    Field<KeySpec>{{.path = "keys[].prepaid",
                    .type = kCount,
                    .fallback = "0",
                    .max = kBillion * 1'000'000,
                    .help = "Given to its wallet when the key is made: quota tokens, or millionths "
                            "of a USD."},
                   [](KeySpec& k) -> ValueRef { return &k.prepaid; }},
    Field<KeySpec>{{.path = "keys[].attributes",
                    .type = kAttributes,
                    .fallback = "{}",
                    .max = kAttributeBits,
                    .help = "What policies know of its requests: DIMENSION: VALUE."},
                   [](KeySpec& k) -> ValueRef { return &k.attributes; }},
    Field<KeySpec>{{.path = "keys[].metadata",
                    .type = kDimensionList,
                    .fallback = "[]",
                    .max = kAttributeBits,
                    .help = "What its requests may say of themselves, unsigned, by headers such as "
                            "x-weir-user; policies believe it."},
                   [](KeySpec& k) -> ValueRef { return &k.metadata; }},
    Field<KeySpec>{{.path = "keys[].limits.requests_per_minute",
                    .type = kCount,
                    .max = kBillion,
                    .unit = "requests",
                    .help = "0 is no limit; absent: as in key_defaults."},
                   [](KeySpec& k) -> ValueRef { return &k.limits.requests_per_minute; }},
    Field<KeySpec>{{.path = "keys[].limits.tokens_per_minute",
                    .type = kCount,
                    .max = 1'000 * kBillion,
                    .unit = "tokens",
                    .help = "0 is no limit; absent: as in key_defaults."},
                   [](KeySpec& k) -> ValueRef { return &k.limits.tokens_per_minute; }},
    Field<KeySpec>{{.path = "keys[].limits.concurrent_requests",
                    .type = kCount,
                    .max = 1'000'000,
                    .unit = "requests",
                    .help = "0 is no limit; absent: as in key_defaults."},
                   [](KeySpec& k) -> ValueRef { return &k.limits.concurrent_requests; }},
    Field<KeySpec>{
        {.path = "keys[].limits.budget",
         .type = kUsd,
         .max = kMaxNanoUsd.n,
         .help = "What it may spend in its life, never passed; none is no cap; absent: as in "
                 "key_defaults."},
        [](KeySpec& k) -> ValueRef { return &k.limits.budget; }},
    Field<KeySpec>{{.path = "keys[].secret",
                    .type = kSecret,
                    .form = TextForm::kVisible,
                    .min = 8,
                    .max = 512,
                    .help = "The key itself, if you choose it; write ${NAME}. Empty or absent: one "
                            "is generated and shown once."},
                   [](KeySpec& k) -> ValueRef { return &k.secret; }},
};

const std::array kWebhookFields = {
    Field<Webhook>{{.path = "webhooks[].name",
                    .form = TextForm::kName,
                    .min = 1,
                    .max = 64,
                    .help = "How deliveries, the log and the admin API call it.",
                    .required = true},
                   [](Webhook& w) -> ValueRef { return &w.name; }},
    // A secret, because whoever knows it may call it.
    Field<Webhook>{{.path = "webhooks[].url",
                    .type = kSecret,
                    .form = TextForm::kVisible,
                    .max = 2048,
                    .help = "Where events are sent: https://HOST[:PORT][/PATH][?QUERY]; http:// "
                            "only with allow_private.",
                    .required = true},
                   [](Webhook& w) -> ValueRef { return &w.url; }},
    Field<Webhook>{{.path = "webhooks[].secret",
                    .type = kSecret,
                    .max = 256,
                    .help = "What deliveries are signed with: whsec_ and the base64 of 24 to 64 "
                            "bytes; write ${NAME}. Two with a blank between them sign both, while "
                            "a receiver changes over.",
                    .required = true},
                   [](Webhook& w) -> ValueRef { return &w.secret; }},
    Field<Webhook>{{.path = "webhooks[].events",
                    .type = kTextList,
                    .form = TextForm::kName,
                    .fallback = "[]",
                    .min = 1,
                    .max = 64,
                    .help = "Types of events it is told, such as wallet.low; [] is all."},
                   [](Webhook& w) -> ValueRef { return &w.events; }},
    Field<Webhook>{{.path = "webhooks[].allow_private",
                    .type = kFlag,
                    .fallback = "false",
                    .help = "Whether it may be at an address of this machine or of a private "
                            "network."},
                   [](Webhook& w) -> ValueRef { return &w.allow_private; }},
};

const std::array kPayloadRuleFields = {
    Field<PayloadRuleText>{{.path = "keys[].payload_rules[].path",
                            .form = TextForm::kVisible,
                            .min = 1,
                            .max = 1039,
                            .help = "What is set in a body that is adapted: members and places in "
                                    "lists, such as reasoning.effort or input.0.role. Not model, "
                                    "not stream.",
                            .required = true},
                           [](PayloadRuleText& r) -> ValueRef { return &r.path; }},
    Field<PayloadRuleText>{{.path = "keys[].payload_rules[].value",
                            .min = 1,
                            .max = dialect::kPayloadValueBytesMax,
                            .help = "JSON, such as true, 5 or '\"low\"'.",
                            .required = true},
                           [](PayloadRuleText& r) -> ValueRef { return &r.value; }},
};

std::vector<std::string_view> DimensionsOf(std::uint32_t bits) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kDimensions; ++i) {
    if ((bits & (1U << i)) != 0) names.push_back(kDimensionNames[i]);
  }
  return names;
}

// Nested, so that it can be used from FormatValue: the text of any value.
struct Formatter {
  const Option& option;

  std::string operator()(std::monostate) const { return {}; }
  std::string operator()(const std::string* text) const {
    return option.type == kSecret && !text->empty() ? "***" : *text;
  }
  std::string operator()(const Secret* secret) const { return secret->empty() ? "" : "***"; }
  std::string operator()(const bool* flag) const { return *flag ? "true" : "false"; }
  std::string operator()(const std::int32_t* count) const {
    // One of numbers that are choices, or none.
    if (option.type == kChoice && *count == 0) return "";
    return std::to_string(*count);
  }
  std::string operator()(const std::int64_t* count) const {
    if (option.type == kLocalTime) return FormatLocalTime(*count);
    return option.type == kBytes ? FormatBytes(*count) : std::to_string(*count);
  }
  std::string operator()(const std::optional<std::int64_t>* count) const {
    return *count ? std::to_string(**count) : "";
  }
  std::string operator()(const std::vector<std::int64_t>* counts) const {
    return fmt::format("[{}]", fmt::join(*counts, ", "));
  }
  std::string operator()(const std::vector<Dimension>* dimensions) const {
    std::uint32_t bits = 0;
    for (const Dimension dimension : *dimensions) bits |= BitOf(dimension);
    return fmt::format("[{}]", fmt::join(DimensionsOf(bits), ", "));
  }
  std::string operator()(const std::vector<Attribute>* attributes) const {
    std::vector<std::string> members;
    for (const Attribute& attribute : *attributes) {
      members.push_back(fmt::format("{}: {}", Name(attribute.dimension), attribute.value));
    }
    return fmt::format("{{{}}}", fmt::join(members, ", "));
  }
  std::string operator()(const std::vector<Condition>* conditions) const {
    std::vector<std::string> members;
    for (const Condition& condition : *conditions) {
      const std::string values = fmt::format("{}", fmt::join(condition.values, ", "));
      members.push_back(condition.values.size() == 1
                            ? fmt::format("{}: {}", Name(condition.dimension), values)
                            : fmt::format("{}: [{}]", Name(condition.dimension), values));
    }
    return fmt::format("{{{}}}", fmt::join(members, ", "));
  }
  std::string operator()(const std::shared_ptr<const Zone>* zone) const {
    return *zone == nullptr ? "UTC" : (*zone)->name;
  }
  std::string operator()(const QuotaRef& amount) const {
    if (amount.steps != nullptr) return FormatAmount(amount.unit, *amount.steps);
    return *amount.maybe ? FormatAmount(amount.unit, **amount.maybe) : "";
  }
  std::string operator()(const std::uint32_t* bits) const {
    if (option.type == kDimensionList) {
      return fmt::format("[{}]", fmt::join(DimensionsOf(*bits), ", "));
    }
    if (option.type != kChoiceList) return std::to_string(*bits);
    std::string text;
    for (std::size_t i = 0; !ChoiceAt(option.choices, i).empty(); ++i) {
      if ((*bits & (1U << i)) == 0) continue;
      if (!text.empty()) text += ", ";
      text += ChoiceAt(option.choices, i);
    }
    return "[" + text + "]";
  }
  std::string operator()(const Duration* duration) const { return FormatDuration(*duration); }
  std::string operator()(const NanoUsd* amount) const { return FormatUsd(*amount); }
  std::string operator()(const std::optional<NanoUsd>* amount) const {
    return *amount ? FormatUsd(**amount) : "";
  }
  std::string operator()(const PicoUsdPerUnit* price) const {
    return *price == kNotGiven ? "" : FormatUsdPerMillion(*price);
  }
  std::string operator()(const std::optional<HangUpRule>* rule) const {
    return *rule ? (*this)(&**rule) : "";
  }
  std::string operator()(const Multiplier* multiplier) const {
    return FormatMultiplier(*multiplier);
  }
  std::string operator()(const std::optional<Instant>* instant) const {
    return *instant ? FormatTime(**instant) : "";
  }
  std::string operator()(const Listen* listen) const { return FormatAddress(*listen); }
  std::string operator()(const std::optional<Proxy>* proxy) const {
    return *proxy ? FormatProxy(**proxy) : "";
  }
  std::string operator()(const std::vector<std::string>* list) const {
    return fmt::format("[{}]", fmt::join(*list, ", "));
  }
  std::string operator()(const Upstream* upstream) const {
    return FormatUrl({upstream->tls, upstream->host, upstream->port, upstream->base_path});
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  std::string operator()(const Enum* value) const {
    return std::string(ChoiceAt(option.choices, static_cast<std::size_t>(*value)));
  }
};

}  // namespace

std::span<const Field<Config>> ConfigFields() { return kConfigFields; }
std::span<const Field<Upstream>> UpstreamFields() { return kUpstreamFields; }
std::span<const Field<Account>> AccountFields() { return kAccountFields; }
std::span<const Field<Pool>> PoolFields() { return kPoolFields; }
std::span<const Field<Package>> PackageFields() { return kPackageFields; }
std::span<const Field<Workspace>> WorkspaceFields() { return kWorkspaceFields; }
std::span<const Field<Model>> ModelFields() { return kModelFields; }
std::span<const Field<PriceVersion>> PriceFields() { return kPriceFields; }
std::span<const Field<PriceTier>> TierFields() { return kTierFields; }
std::span<const Field<ImagePrice>> ImageFields() { return kImageFields; }
std::span<const Field<Downgrade>> DowngradeFields() { return kDowngradeFields; }
std::span<const Field<KeySpec>> KeyFields() { return kKeyFields; }
std::span<const Field<PayloadRuleText>> PayloadRuleFields() { return kPayloadRuleFields; }
std::span<const Field<Webhook>> WebhookFields() { return kWebhookFields; }

std::string FormatPayloadRules(std::span<const dialect::PayloadRule> rules) {
  std::string text = "[";
  for (const dialect::PayloadRule& rule : rules) {
    if (text.size() > 1) text += ", ";
    text += fmt::format("{} = {}", dialect::PathText(rule), rule.value);
  }
  return text + "]";
}

std::string_view ChoiceAt(std::string_view choices, std::size_t index) {
  constexpr std::string_view kBetween = " | ";
  while (index-- > 0) {
    const auto at = choices.find(kBetween);
    if (at == std::string_view::npos) return {};
    choices.remove_prefix(at + kBetween.size());
  }
  return choices.substr(0, choices.find(kBetween));
}

std::string FormatValue(const Option& option, const ValueRef& value) {
  return std::visit(Formatter{option}, value);
}

std::string FormatBounds(const Option& option) {
  const auto number = [&](std::int64_t value) {
    switch (option.type) {
      case kBytes:
        return FormatBytes(value);
      case kDuration:
        return FormatDuration({value});
      case kUsd:
        return FormatUsd({value});
      case kUsdPerMillion:
      case kMultiplier:
        return FormatUsdPerMillion({value});
      default:
        return std::to_string(value);
    }
  };
  switch (option.type) {
    case kText:
    case kSecret:
      return fmt::format("{}..{} characters", option.min, option.max);
    case kTextList:
      return fmt::format("{}..{} characters each", option.min, option.max);
    case kCount:
    case kBytes:
    case kDuration:
    case kUsd:
    case kUsdPerMillion:
    case kMultiplier:
      return fmt::format("{}..{}", number(option.min), number(option.max));
    case kChoice:
    case kChoiceList: {
      std::string text;
      for (std::size_t i = 0; !ChoiceAt(option.choices, i).empty(); ++i) {
        text += fmt::format("{}`{}`", i == 0 ? "" : ", ", ChoiceAt(option.choices, i));
      }
      return text;
    }
    case kCountList:
      return fmt::format("{}..{} each", option.min, option.max);
    case kDimensionList:
    case kAttributes:
    case kConditions:
      return fmt::format("`{}`",
                         fmt::join(DimensionsOf(static_cast<std::uint32_t>(option.max)), "`, `"));
    default:
      return {};
  }
}

std::span<const Option> Options() {
  static const std::vector<Option> all = [] {
    std::vector<Option> options;
    const auto append = [&](const auto& fields) {
      for (const auto& field : fields) options.push_back(field.option);
    };
    append(kConfigFields);
    append(kUpstreamFields);
    append(kAccountFields);
    append(kPoolFields);
    append(kPackageFields);
    append(kWorkspaceFields);
    append(kModelFields);
    append(kPriceFields);
    append(kTierFields);
    append(kImageFields);
    append(kDowngradeFields);
    append(kKeyFields);
    append(kPayloadRuleFields);
    append(PolicyFields());
    append(kWebhookFields);
    return options;
  }();
  return all;
}

const Option* FindOption(std::string_view path) {
  const auto options = Options();
  const auto it = std::ranges::find(options, path, &Option::path);
  return it == options.end() ? nullptr : &*it;
}

std::string_view TypeName(OptionType type) {
  switch (type) {
    case kText:
      return "text";
    case kSecret:
      return "secret text";
    case kFlag:
      return "true or false";
    case kCount:
      return "whole number";
    case kBytes:
      return "size";
    case kDuration:
      return "duration";
    case kUsd:
      return "USD";
    case kUsdPerMillion:
      return "USD per million tokens";
    case kMultiplier:
      return "multiplier";
    case kTime:
      return "time";
    case kAddress:
      return "address";
    case kUrl:
      return "URL";
    case kProxy:
      return "proxy";
    case kChoice:
      return "choice";
    case kChoiceList:
      return "list of choices";
    case kTextList:
      return "list of texts";
    case kRouteList:
      return "list of routes";
    case kPrice:
      return "price";
    case kCountList:
      return "list of whole numbers";
    case kAmount:
      return "amount of the unit";
    case kLocalTime:
      return "local time";
    case kZone:
      return "time zone";
    case kDimensionList:
      return "list of dimensions";
    case kAttributes:
      return "attributes";
    case kConditions:
      return "conditions";
  }
  return "";
}

std::string OptionsReferenceMarkdown() {
  std::string page =
      "# Options\n\n"
      "Generated from `src/config/options.cc`; do not edit.\n\n"
      "Every option of the configuration file. `a.b` is `b` inside the mapping `a`, `a[].b` is "
      "`b`\n"
      "of each item of the list `a`. An option not in this list is refused.\n\n"
      "Durations are written `250ms`, `5s`, `30m`, `1h` or `7d`; sizes `4096`, `64KiB`, `32MiB` or "
      "`1GiB`;\n"
      "amounts of money as plain decimals, which are taken exactly. In any value `${NAME}` is the\n"
      "environment variable NAME, `${NAME:-text}` is `text` when it is unset or empty, and `$${` "
      "is\n"
      "a plain `${`. Options marked *restart* keep their old value on a reload.\n";
  std::string_view section = "-";
  for (const Option& option : Options()) {
    const auto end = option.path.find_first_of(".[");
    const std::string_view top = end == std::string_view::npos ? "" : option.path.substr(0, end);
    if (top != section) {
      section = top;
      page += fmt::format(
          "\n## {}\n\n| Option | Type | Default | Bounds | In force | Meaning |\n"
          "|---|---|---|---|---|---|\n",
          top.empty() ? std::string("The deployment") : fmt::format("`{}`", top));
    }
    std::string type(TypeName(option.type));
    if (!option.unit.empty()) type += fmt::format(" ({})", option.unit);
    const std::string fallback = option.required           ? "required"
                                 : option.fallback.empty() ? "none"
                                                           : fmt::format("`{}`", option.fallback);
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", option.path, type, fallback,
                        FormatBounds(option),
                        option.effect == Effect::kRestart ? "restart" : "reload", option.help);
  }
  return page;
}

}  // namespace weir::config
