// The configuration as the rest of the program sees it: plain, checked, immutable values. Text
// becomes a Config in config/parse and nowhere else; a Config is never changed after that.
//
// Names refer by index once parsed: a ModelRoute holds the index of its upstream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/money.h"
#include "base/secret.h"
#include "base/time.h"
#include "config/policy.h"
#include "config/price_list.h"
#include "dialect/payload_rule.h"

namespace weir::config {

// How the deployment calls itself: one per deployment.
struct Brand {
  std::string name = "Weir";
  std::string key_prefix = "wr_";
  std::string header_prefix = "x-weir";
  std::string docs_url;  // empty: none is mentioned
};

struct Listen {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free port
};

// Bounds on what one caller may send and how long it may take.
struct CallerLimits {
  std::int64_t body_bytes_max = 32 << 20;
  std::int64_t connections_max = 20'000;
  Duration header_deadline = Seconds(10);      // whole head, from its first byte
  Duration idle_deadline = Seconds(75);        // between requests
  Duration body_stall_deadline = Seconds(10);  // then at least body_bytes_per_second_min
  std::int64_t body_bytes_per_second_min = 1024;
  Duration write_stall_deadline = Seconds(30);  // a caller that does not read
  std::int32_t requests_per_connection_max = 1000;
  Duration heartbeat_interval = Seconds(10);  // ": ping" on idle streams
  Duration drain_deadline = Seconds(600);     // SIGTERM: streams may finish this long
};

enum class UpstreamKind : std::uint8_t {
  kSandbox,    // answers in process, never opens a socket; in OpenAI's words
  kOpenAi,     // speaks OpenAI's HTTP API at base_url
  kAnthropic,  // speaks Anthropic's Messages API at base_url
  kGemini,     // speaks Gemini's generateContent API at base_url
};

// One provider's API at one address. Its accounts are the credentials to use there.
struct Upstream {
  std::string name;
  UpstreamKind kind = UpstreamKind::kOpenAi;
  bool tls = true;
  std::string host;
  std::uint16_t port = 443;
  std::string base_path;  // "/v1", no trailing slash
  Secret api_key;
  std::string ca_file;           // PEM; empty: the system's
  std::int64_t concurrency = 0;  // calls at once over all its accounts; 0: unlimited
  Duration connect_deadline = Seconds(5);
  Duration first_byte_deadline = Seconds(600);
  Duration event_deadline = Seconds(120);  // between two reads of a reply
  Duration total_deadline = Minutes(30);
  std::int64_t reply_bytes_max = 64 << 20;  // a JSON reply; streams are bounded per event
  // How often an account that rests for a refused credential or a dead connection, or was never
  // used, is asked for its models; 0: never.
  Duration health_probe = Seconds(60);
};

// What a model can be asked for; a bit set.
enum Capability : std::uint32_t {
  kCapResponses = 1 << 0,
  kCapChat = 1 << 1,
  kCapTranscription = 1 << 2,
  kCapMessages = 1 << 3,
  kCapGenerateContent = 1 << 4,
};

inline constexpr std::uint32_t kCapsAll = (1 << 5) - 1;
// What a wildcard can be asked for unless the file says otherwise: all that generates. Which of it
// works is decided by the kinds of its upstreams.
inline constexpr std::uint32_t kCapsOfWildcard =
    kCapResponses | kCapChat | kCapMessages | kCapGenerateContent;

// What an account's backend makes of requests that were adapted for Codex-style use.
enum class AdaptProfile : std::uint8_t {
  kOpenAiApi,        // takes all that OpenAI's API takes
  kResponsesStrict,  // a Codex-style backend: streams only, stores nothing, few parameters
};

// An HTTP proxy that calls go through: CONNECT for https upstreams.
struct Proxy {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  friend bool operator==(const Proxy&, const Proxy&) = default;
};

// One of the operator's credentials at an upstream, and what it may be used for.
struct Account {
  std::string id;              // "upstream/name", or the upstream's name when it has just the one
  std::uint32_t upstream = 0;  // index into Config::upstreams
  Secret api_key;
  bool enabled = true;
  bool draining = false;            // takes no new call
  std::vector<std::string> models;  // as callers name them; empty: all that have a route here
  std::uint32_t capabilities = kCapsAll;
  std::int32_t weight = 1;       // 1 .. 1000: its share beside accounts of the same priority
  std::int32_t priority = 50;    // lower ones first
  std::int64_t concurrency = 0;  // calls at once; 0: unlimited, as below
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
  std::optional<Instant> expires_at;
  std::vector<std::string> keys;  // names of the keys it is reserved for; empty: shared
  AdaptProfile adapt = AdaptProfile::kOpenAiApi;
  std::optional<Proxy> proxy;  // none: straight to the upstream
};

// How long and how many may wait for an account. size 0: nobody waits.
struct QueueLimits {
  std::int64_t size = 0;
  std::int64_t per_key = 10;
  Duration wait = Seconds(30);
};

// Accounts that stand in for each other.
struct Pool {
  std::string name;
  std::vector<std::uint32_t> accounts;  // indices into Config::accounts
  std::int64_t concurrency = 0;         // calls at once; 0: unlimited
  QueueLimits queue;
  // As the file lists them: ids, "UPSTREAM/*" or "*", which also stands here for no list. The last
  // two take in accounts that are made at run time (WithAccounts).
  std::vector<std::string> members = {};
};

// A customer: keys that belong together. Sessions of different workspaces never meet.
struct Workspace {
  std::string name;
  std::string package;  // of keys that name none; empty: the first package
};

// What calls of a key are paid from, besides its budget.
enum class WalletKind : std::uint8_t {
  kNone,
  kQuotaTokens,  // tokens times the model's multiplier
  kUsd,          // the price times the model's multiplier
};

// How much of what a call can cost is held before it.
enum class HoldRule : std::uint8_t {
  kStrict,    // all of it
  kAdaptive,  // what such calls of the key usually cost; a call that outgrows what pays for it is
              // cut
};

// What a key is given: pools, in the order they are asked. The first one's queue is waited in.
struct Package {
  std::string name;
  std::vector<std::uint32_t> pools;  // indices into Config::pools
  // Of the workspace of a key, or its own when it has none.
  WalletKind wallet = WalletKind::kNone;
  std::int64_t wallet_low =
      0;  // told once below it: quota tokens, or millionths of a USD; 0: never
  HoldRule hold = HoldRule::kStrict;
};

struct ModelRoute {
  std::uint32_t upstream = 0;  // index into Config::upstreams
  std::string upstream_model;  // what the upstream calls it; empty (wildcards only): as asked for
};

// Under pressure a simple or standard call is served by a lesser model, and a complex one thinks
// one step less. Decided before the hold, so the price is that of the model that serves.
struct Downgrade {
  std::string to;                   // id of a model
  std::int64_t above_percent = 80;  // of the pool's capacity, the queue included
};

// What happens to a call whose caller hangs up.
enum class HangUpRule : std::uint8_t {
  kAbortAndBillObserved,  // stop the upstream, charge what was delivered
  kAbortAndVoid,          // stop the upstream, charge nothing
  kDrainAndBill,          // let the upstream finish, charge it all
};

// What a wallet is charged more, or less, than others: 3 is three times.
struct Multiplier {
  std::int64_t ppm = 1'000'000;
  friend bool operator==(const Multiplier&, const Multiplier&) = default;
};

struct Model {
  std::string id;  // as callers name it; "*" takes any name no other model has
  std::string owned_by;
  std::int64_t created = 0;  // unix seconds
  std::uint32_t capabilities = kCapResponses | kCapChat;
  // A key needs it besides that of the API family (openai, anthropic, gemini) to generate with this
  // model; empty: the family's alone decides.
  std::string permission;
  std::vector<ModelRoute> routes;  // tried in this order
  PriceList price;                 // empty: refused as model_unpriced, unless it is in the catalog
  bool price_by_name = false;  // the wildcard's: the catalog's price of what the caller asks for
  std::string family;          // for policies: "gpt-5"; empty: none
  std::string model_class = "standard";  // premium, preview, deprecated, high_context, ...
  std::optional<Downgrade> downgrade;
  Multiplier multiplier;                 // of what a wallet pays
  std::optional<HangUpRule> on_hang_up;  // none: the deployment's
  // Words of service_tier, speed and inference_geo that the price covers although providers sell
  // them dearer.
  std::vector<std::string> service_tiers = {};
  std::int64_t output_tokens_max = 128'000;
  std::int64_t input_tokens_max = 400'000;
};

// What a key may do per minute and at once. 0 = no limit.
struct KeyLimits {
  std::int64_t requests_per_minute = 100;
  std::int64_t tokens_per_minute = 0;
  std::int64_t concurrent_requests = 0;
  std::optional<NanoUsd> budget;  // hard, lifetime; none = no cap

  friend bool operator==(const KeyLimits&, const KeyLimits&) = default;
};

// A key the file asks for: made at the first start if no key of that name exists, its secret then
// shown once. With `secret` set the key is exactly that text.
struct KeySpec {
  std::string name;
  std::string environment;  // empty: the deployment's
  std::vector<std::string> permissions = {"openai"};
  std::vector<std::string> models;  // empty: all
  std::optional<Instant> expires_at;
  KeyLimits limits;
  Secret secret;
  std::string workspace;  // empty: a workspace of its own
  std::string package;    // empty: the workspace's
  bool codex_adaptation = false;
  std::vector<dialect::PayloadRule> payload_rules;  // where it is adapted, in this order
  bool allow_downgrade = true;
  // Given to its wallet when it is made: quota tokens, or millionths of a USD.
  std::int64_t prepaid = 0;
  std::vector<Attribute> attributes;  // sorted by dimension
  std::uint32_t metadata = 0;         // dimensions its requests may set unsigned: bits of Dimension
};

// Where events are told, as Standard Webhooks 1.0.
struct Webhook {
  std::string name;
  std::string url;                  // https://..., or http:// where allow_private
  Secret secret;                    // "whsec_" and base64 of 24 to 64 bytes
  std::vector<std::string> events;  // "policy.alert", ...; empty: all
  bool allow_private = false;       // addresses of this machine and of private networks
};

enum class Durability : std::uint8_t {
  kProcess,  // survives kill -9 of the process (SQLite WAL, synchronous=NORMAL)
  kPower,    // survives a power cut (fsync per group commit, synchronous=FULL)
};

// How far a request goes on after an attempt that failed.
struct Fallback {
  std::int64_t attempts = 10;  // per request; twice as many when all that stopped it were limits
  // Failed attempts that the operator may have to pay for all the same, each counted as the
  // request's whole hold: at most this much of it together.
  std::int64_t spend_percent = 300;
};

struct Config {
  Brand brand;
  std::string environment = "production";
  Listen listen{"127.0.0.1", 8080};
  Listen admin{"127.0.0.1", 8081};
  std::int32_t workers = 0;  // 0: one per core
  std::string data_dir = "weir-data";
  Durability durability = Durability::kProcess;
  HangUpRule hang_up_rule = HangUpRule::kAbortAndBillObserved;
  std::int64_t useful_output_tokens_min = 256;  // a clamp below this is a refusal
  CallerLimits caller_limits;
  std::int64_t concurrency = 0;  // calls to upstreams at once, of the node; 0: unlimited
  Fallback fallback;
  std::vector<Upstream> upstreams;
  std::vector<Account> accounts;
  std::vector<Pool> pools;        // the first holds every account that is reserved for nobody
  std::vector<Package> packages;  // the first is that of keys without one
  std::vector<Workspace> workspaces;
  std::vector<Model> models;
  std::vector<std::string> price_files;
  std::shared_ptr<const PriceCatalog> catalog;  // of price_files; null: none
  PriceList price_ceiling;  // of models with `price: catalog` that the catalog does not know
  std::vector<KeySpec> keys;
  std::vector<Policy> policies;  // of the file, then those made through the admin API
  std::vector<Raise> raises;     // of policies, approved
  Secret metadata_secret;        // that callers sign what their requests say of themselves with
  std::vector<Webhook> webhooks;
  KeyLimits key_defaults;  // for keys made through the admin API without limits of their own
  bool log_exchanges = true;

  // The model a caller means by `id`, or the wildcard, or null.
  const Model* FindModel(std::string_view id) const;
  // The price in force of `model` for a caller who asked for `asked`, or null: not served.
  const PriceVersion* PriceOf(const Model& model, std::string_view asked, Instant now) const;
  // The package of a key, as an index: the one of accounts reserved for it, else its own, else its
  // workspace's, else the first. Names that are gone from the file count as none.
  std::uint32_t PackageOf(std::string_view key, std::string_view workspace,
                          std::string_view package) const;

  // What PackageOf finds by, made by FinishAccounts; sorted by name.
  std::vector<std::pair<std::string, std::uint32_t>> reserved_packages;
};

}  // namespace weir::config
