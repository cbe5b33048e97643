#include "admin/admin_listener.h"

#include <ctime>
#include <utility>

#include "admin/admin_api.h"
#include "admin/json_writer.h"
#include "admin/public_docs.h"
#include "base/version.h"
#include "store/pepper.h"
#include "store/time_zones.h"

namespace weir::admin {
namespace {

class AdminListener final : public net::HttpHandler {
 public:
  AdminListener(server::Server& server, std::string token_hash)
      : api_(Ports(server), std::move(token_hash)) {}

  Task<void> Handle(const gateway::RequestHead& head, gateway::Downstream& downstream,
                    Tick) override {
    const auto body = co_await downstream.ReadBody(kBodyBytesMax);
    AdminResponse response;
    gateway::ReplyHead reply;
    if (body) {
      response = api_.Handle({.method = head.method,
                              .path = head.path,
                              .query = head.query,
                              .headers = head.headers,
                              .body = *body});
    } else if (body.error().code == ErrorCode::kTooLarge) {
      response = BodyTooLarge();
      reply.close = true;  // what follows on the connection is the rest of that body
    } else {
      downstream.Cut();
      co_return;
    }
    reply.status = response.status;
    reply.content_type = response.content_type;
    reply.headers = std::move(response.headers);
    co_await downstream.Reply(std::move(reply), response.body);
  }

  std::string BadRequestBody(int status, std::string_view reason) override {
    JsonWriter json;
    json.Open('{')
        .Text("type", "about:blank")
        .Text("title", "The request is not HTTP as this listener accepts it")
        .Number("status", status)
        .Text("detail", reason)
        .Close('}');
    return json.Take();
  }

 private:
  static AdminPorts Ports(server::Server& server) {
    return {
        .keys = server.keys(),
        .requests = server.requests(),
        .pepper = server.pepper(),
        .config = [&server] { return server.config(); },
        .status = [&server] { return Status(server); },
        .now =
            [] {
              timespec now{};
              clock_gettime(CLOCK_REALTIME, &now);
              return Instant{static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
            },
        .random = store::SystemRandom32,
        .keys_changed = [&server] { server.PublishKeys(); },
        .standing = [&server](KeyId key) { return server.credit().Standing(key); },
        .metrics = [&server] { return server.metrics().Text(); },
        .accounts =
            {.store = &server.accounts(),
             .file = [&server] { return server.file(); },
             .changed = [&server] { server.PublishAccounts(); },
             .cool = [&server](std::string_view id,
                               Duration rest) { return server.pool().Cool(id, rest); },
             .clear = [&server](std::string_view id) { return server.pool().Clear(id); },
             .view = [&server](std::string_view id) { return server.pool().ViewAccount(id); },
             .view_pool = [&server](std::uint32_t pool) { return server.pool().ViewPool(pool); },
             .sticky = [&server] { return server.pool().Sticky(); }},
        .receipt_key = &server.receipt_key(),
        .wallets =
            {.store = &server.wallets(),
             .view = [&server](const gateway::WalletId& id) { return server.credit().Wallet(id); },
             .find =
                 [&server](const gateway::GrantId& id) { return server.credit().FindGrant(id); },
             .give = [&server](
                         const ledger::GrantRecord& grant) { return server.credit().Give(grant); },
             .revoke = [&server](const gateway::GrantId& id) { return server.credit().Revoke(id); },
             .sweep = [&server] { server.credit().Sweep(); }},
        .operators = &server.operators(),
        .policies = {.store = &server.policy_store(),
                     .approvals = &server.approvals(),
                     .file = [&server] { return server.file(); },
                     .read =
                         [&server](std::string_view text) {
                           return server::ReadPolicies(text, *server.file(), store::FindZone);
                         },
                     .changed = [&server] { return server.PublishPolicies(); },
                     .spent = nullptr},
        .courier = &server.courier(),
        .journal =
            [&server](std::uint64_t after, std::size_t bytes_max) {
              return server.credit().ReadJournal(after, bytes_max);
            },
        .quotas = {.set = CachedSet(server),
                   .look =
                       [&server](std::span<const policy::QuotaUse> uses) {
                         return server.credit().Quotas(uses);
                       },
                   .available_at =
                       [&server](const policy::Standing& standing, std::int64_t amount) {
                         return server.credit().QuotaAvailableAt(standing, amount);
                       },
                   .usual_output =
                       [&server](const KeyId& key, config::PriceId price) {
                         return server.credit().UsualOutput(key, price);
                       },
                   .list =
                       [&server](std::string_view policy, std::uint32_t from, std::size_t limit) {
                         return server.credit().ListCounters(policy, from, limit);
                       }}};
  }

  // Made anew when the configuration is another.
  static decltype(QuotaPorts::set) CachedSet(server::Server& server) {
    struct Cached {
      std::shared_ptr<const config::Config> of;
      std::shared_ptr<const policy::PolicySet> set;
    };
    return [&server, cached = std::make_shared<Cached>()] {
      auto config = server.config();
      if (cached->of != config) {
        cached->set = std::make_shared<const policy::PolicySet>(config->policies, config->raises);
        cached->of = std::move(config);
      }
      return cached->set;
    };
  }

  static NodeStatus Status(server::Server& server) {
    const auto counters = server.credit().Counters();
    return {.version = kVersion,
            .started_at = server.started_at(),
            .journal_records = counters.records,
            .journal_commits = counters.commits,
            .journal_available = counters.available,
            .draining = server.draining(),
            .connections = server.connections(),
            .requests = server.metrics().Now(telemetry::Live::kRequests),
            .workers = server.workers()};
  }

  AdminApi api_;
};

}  // namespace

std::unique_ptr<net::HttpHandler> MakeAdminListener(server::Server& server,
                                                    std::string token_hash) {
  return std::make_unique<AdminListener>(server, std::move(token_hash));
}

std::optional<server::Page> PublicPage(const config::Config& config, std::string_view path,
                                       std::string_view host) {
  return DocsPage(config, path, host);
}

}  // namespace weir::admin
