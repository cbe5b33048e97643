// The admin API: what an operator may ask and change, as a function from request to response.
//
// It knows no socket. The server mounts Handle() on the admin listener and calls it from one thread
// that serves no gateway traffic, because a handler may wait for SQLite. Paths are in admin/routes,
// the contract in api/openapi.yaml, and a test holds the two equal.
//
// Who may ask: an operator, by a token (Authorization: Bearer wadm_...). The one in the admin-token
// file is that of the operator "admin", who may do everything; others are made by the API and may
// do what their role may (admin/routes). Each is named in the trail of what was changed, and so is
// every refusal of a wrong token or a role. A browser may not ask: a
// request with a foreign Origin, or with a Host that is not this machine's (DNS rebinding), is
// refused before the token is looked at.
//
// Invariants:
//   1. No response holds a stored secret. A key's secret is in the response that made it and never
//      again; upstream credentials are shown as "***" and their last four characters.
//   2. Errors are RFC 9457 problem details.
//   3. A body with a member the handler does not know changes nothing: a misspelled limit must not
//      become no limit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "config/parse.h"
#include "gateway/credit_control.h"
#include "gateway/ports.h"
#include "identity/api_key.h"
#include "policy/policy_set.h"
#include "routing/account_pool.h"
#include "server/credit_host.h"
#include "store/journal.h"

namespace weir::store {
class AccountStore;
class KeyStore;
class OperatorStore;
class PolicyStore;
class ReceiptKey;
struct Approval;
class RequestLog;
class WalletStore;
}  // namespace weir::store

namespace weir::server {
class Approvals;
class Courier;
}  // namespace weir::server

namespace weir::admin {

struct AdminRequest {
  std::string_view method;
  std::string_view path;   // before '?', as sent
  std::string_view query;  // after '?', or empty, as sent
  std::vector<gateway::HeaderView> headers;
  std::string_view body;

  // The value of the first header of that name (compared without case), or empty.
  std::string_view Find(std::string_view name) const;
  // How many headers of that name there are.
  std::size_t Count(std::string_view name) const;
};

struct AdminResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string headers;  // finished lines, "name: value\r\n" each
  std::string body;
};

// Larger bodies need not be read: the listener answers 413 with admin::BodyTooLarge().
inline constexpr std::int64_t kBodyBytesMax = 64 << 10;
AdminResponse BodyTooLarge();

// How the node does, for GET /admin/v1/status and the page at /.
struct NodeStatus {
  std::string version;
  Instant started_at;
  std::uint64_t journal_records = 0;  // handed to the journal since the start
  std::uint64_t journal_commits = 0;  // transactions they took
  bool journal_available = true;      // false: the disk takes nothing now
  bool draining = false;
  std::int64_t connections = 0;
  std::int64_t requests = 0;  // in progress
  std::int64_t workers = 0;
};

// The accounts: where they are kept, how they fare, and the operator's hand on them.
struct AccountPorts {
  store::AccountStore* store = nullptr;  // never null while a request is handled
  std::function<std::shared_ptr<const config::Config>()> file;  // without what the store adds to it
  // Called after an account was stored, so that workers see it before the response leaves.
  std::function<void()> changed;
  std::function<bool(std::string_view id, Duration rest)> cool;
  std::function<bool(std::string_view id)> clear;
  std::function<std::optional<routing::AccountView>(std::string_view id)> view;
  std::function<routing::PoolView(std::uint32_t pool)> view_pool;
  std::function<routing::StickyCounts()> sticky;
};

// The wallets: the credit machine's side of them, and where codes and the trail are kept.
struct WalletPorts {
  store::WalletStore* store = nullptr;  // never null while a request is handled
  std::function<std::optional<gateway::WalletView>(const gateway::WalletId&)> view;
  std::function<std::optional<ledger::GrantRecord>(const gateway::GrantId&)> find;
  // Both return once it is on disk.
  std::function<Result<gateway::GrantReply>(const ledger::GrantRecord&)> give;
  std::function<Result<gateway::RevokeReply>(const gateway::GrantId&)> revoke;
  std::function<void()> sweep;  // takes off every grant what has expired of it
};

// Quota policies made at run time, approvals, and the trail of who changed what of them and of the
// operators.
struct PolicyPorts {
  store::PolicyStore* store = nullptr;     // never null while a request is handled
  server::Approvals* approvals = nullptr;  // likewise
  std::function<std::shared_ptr<const config::Config>()> file;  // without what the store adds to it
  // The policies of a text, JSON or YAML, read as the file's are; an object is one.
  std::function<std::expected<std::vector<config::Policy>, std::vector<config::ConfigError>>(
      std::string_view text)>
      read;
  // Called after a policy was stored, so that workers see it before the response leaves.
  std::function<Result<void>()> changed;
  // What was used of an approval's counter in its time, in steps; may be null, as may its answer.
  std::function<std::optional<std::int64_t>(const store::Approval& approval)> spent;
};

// The counters behind quota policies, to look at.
struct QuotaPorts {
  std::function<std::shared_ptr<const policy::PolicySet>()> set;  // in force; never null
  std::function<std::vector<gateway::QuotaStanding>(std::span<const policy::QuotaUse>)> look;
  std::function<Instant(const policy::Standing&, std::int64_t amount)> available_at;
  std::function<std::int64_t(const KeyId&, config::PriceId)> usual_output;
  // See CreditHost::ListCounters.
  std::function<server::CreditHost::QuotaPage(std::string_view policy, std::uint32_t from,
                                              std::size_t limit)>
      list;
};

// What the API stands on. All of it outlives the API; the functions are called on its thread.
struct AdminPorts {
  store::KeyStore& keys;
  store::RequestLog& requests;
  const identity::Pepper& pepper;                                 // for the digests of new keys
  std::function<std::shared_ptr<const config::Config>()> config;  // the one in force
  std::function<NodeStatus()> status;
  std::function<Instant()> now;
  // 32 bytes nobody can guess, for secrets and ids: store::SystemRandom32.
  std::function<Result<std::array<std::uint8_t, 32>>()> random;
  // Called after a key was stored, so that workers see it before the response leaves.
  std::function<void()> keys_changed;
  // None: the credit machine has never seen the key.
  std::function<std::optional<gateway::KeyStanding>(KeyId)> standing;
  std::function<std::string()> metrics;  // the Prometheus text
  AccountPorts accounts;
  const store::ReceiptKey* receipt_key = nullptr;  // never null while a request is handled
  WalletPorts wallets = {};
  store::OperatorStore* operators = nullptr;  // null: there is the admin token alone
  PolicyPorts policies = {};
  // Who tells what happens. Null: nobody is told; never null while webhooks are asked about.
  server::Courier* courier = nullptr;
  // Some of the ledger's journal, as CreditHost::ReadJournal. Waits for the journal thread.
  std::function<Result<store::JournalSlice>(std::uint64_t after, std::size_t bytes_max)> journal =
      {};
  QuotaPorts quotas = {};
};

class AdminApi {
 public:
  // `token_hash` is admin::HashToken of the admin token; `hosts` are names with a dot that the Host
  // header may carry, without port ("admin.example.com"). Addresses and names without a dot are
  // always allowed: nobody outside can own one and point it here.
  AdminApi(AdminPorts ports, std::string token_hash, std::vector<std::string> hosts = {});
  ~AdminApi();
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;

  // Answers one request. Never throws. Called from one thread at a time.
  //   cost   a few SQLite statements
  AdminResponse Handle(const AdminRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::admin
