// The wallets resource: what keys and workspaces have prepaid, giving them more, and taking back
// what nobody has used.
//
// A wallet is named by its owner: "key:ID", or "workspace:NAME" for what the keys of a workspace
// share. The credit machine knows wallets by numbers made of these, so owners are found from the
// keys and from the file.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "admin/handlers.h"
#include "admin/wallet_json.h"
#include "gateway/wallet_owner.h"
#include "store/key_store.h"
#include "store/wallet_store.h"

namespace weir::admin {

using gateway::WalletView;
using ledger::Amount;
using ledger::GrantCategory;
using ledger::GrantRecord;
using ledger::Unit;

std::string_view UnitText(Unit unit) { return unit == Unit::kQuotaToken ? "quota_token" : "usd"; }

std::string_view CategoryText(GrantCategory category) {
  switch (category) {
    case GrantCategory::kPaid:
      return "paid";
    case GrantCategory::kPromo:
      return "promo";
    case GrantCategory::kPlan:
      return "plan";
  }
  return "paid";
}

void WriteAmount(std::string_view name, Amount amount, Unit unit, JsonWriter& json) {
  if (unit == Unit::kQuotaToken) {
    json.Number(name, amount.n);
  } else {
    json.Usd(name, ledger::UsdOf(amount));
  }
}

std::string AmountText(Amount amount, Unit unit) {
  return unit == Unit::kQuotaToken ? fmt::format("{} quota tokens", amount.n)
                                   : fmt::format("{} USD", FormatUsd(ledger::UsdOf(amount)));
}

GrantTerms ReadTerms(ObjectReader& reader, Unit unit) {
  constexpr std::int64_t kNanoPerMillionth = 1'000;
  constexpr std::int64_t kPriorityMax = 1'000'000;
  static constexpr std::array<std::string_view, 3> kCategories = {"paid", "promo", "plan"};
  GrantTerms terms;
  const std::int64_t amount_max =
      unit == Unit::kQuotaToken ? ledger::kMaxAmount.n : ledger::kMaxAmount.n / kNanoPerMillionth;
  std::int64_t written = 0;
  if (reader.Count("amount", 1, amount_max, written)) {
    terms.amount = gateway::WalletAmount(written, unit);
  } else if (!reader.Has("amount")) {
    reader.Refuse("amount", "is missing: quota tokens, or millionths of a USD");
  }
  std::string category;
  if (reader.Choice("category", kCategories, category)) {
    terms.category =
        static_cast<GrantCategory>(std::ranges::find(kCategories, category) - kCategories.begin());
  }
  std::int64_t priority = 0;
  reader.Count("priority", -kPriorityMax, kPriorityMax, priority);
  terms.priority = static_cast<std::int32_t>(priority);
  return terms;
}

void ReadFuture(ObjectReader& reader, std::string_view name, Instant now,
                std::optional<Instant>& out) {
  if (reader.TimeOrNull(name, out) && out && *out <= now) {
    reader.Refuse(name, "must be in the future");
  }
}

namespace {

constexpr std::string_view kKeyOwner = "key:";
constexpr std::string_view kWorkspaceOwner = "workspace:";
constexpr std::string_view kGrantPrefix = "grant_";
constexpr std::size_t kIdempotencyKeyMax = 255;
constexpr std::array kUnits = {Unit::kQuotaToken, Unit::kNanoUsd};

// Whose wallet it is.
struct Owner {
  std::string name;            // "key:key_01J...", "workspace:acme"
  identity::KeyRecordPtr key;  // null: a workspace
  std::string workspace;
  const config::Package* package = nullptr;  // what it is given

  ledger::WalletId WalletOf(Unit unit) const {
    return key ? gateway::WalletOfKey(key->id, unit) : gateway::WalletOfWorkspace(workspace, unit);
  }
};

Owner OwnerOf(identity::KeyRecordPtr key, const config::Config& config) {
  const auto package = config.PackageOf(key->name, {}, key->package);
  std::string name = std::string(kKeyOwner) + KeyIdText(key->id);
  return {.name = std::move(name),
          .key = std::move(key),
          .workspace = {},
          .package = &config.packages[package]};
}

Owner OwnerOf(std::string workspace, const config::Config& config) {
  const auto package = config.PackageOf({}, workspace, {});
  return {.name = std::string(kWorkspaceOwner) + workspace,
          .key = nullptr,
          .workspace = std::move(workspace),
          .package = &config.packages[package]};
}

// A ':' may come escaped; no other character of an owner needs it.
std::string Unescaped(std::string_view text) {
  std::string out(text);
  for (const std::string_view escaped : {"%3A", "%3a"}) {
    if (const auto at = out.find(escaped); at != std::string::npos) out.replace(at, 3, ":");
  }
  return out;
}

// The workspaces that the file names and those that keys have.
std::set<std::string> Workspaces(const config::Config& config,
                                 const std::vector<identity::KeyRecordPtr>& keys) {
  std::set<std::string> names;
  for (const auto& workspace : config.workspaces) names.insert(workspace.name);
  for (const auto& key : keys) {
    if (!key->workspace.empty()) names.insert(key->workspace);
  }
  return names;
}

// The owner that the path names, or the response that says why there is none. A key of a workspace
// stands for the workspace, whose wallet pays for it.
std::expected<Owner, AdminResponse> FindOwner(const Call& call, const config::Config& config) {
  const std::string text = Unescaped(call.id);
  const auto none = [](std::string_view what) {
    return std::unexpected(Problem(ProblemType::kNotFound, what));
  };
  std::string workspace;
  if (text.starts_with(kKeyOwner)) {
    const auto id = ParseKeyId(std::string_view(text).substr(kKeyOwner.size()));
    identity::KeyRecordPtr key = id ? call.ports.keys.table()->FindById(*id) : nullptr;
    if (key == nullptr) return none("There is no key with this id.");
    if (key->workspace.empty()) return OwnerOf(std::move(key), config);
    workspace = key->workspace;
  } else if (text.starts_with(kWorkspaceOwner)) {
    workspace = text.substr(kWorkspaceOwner.size());
    if (!Workspaces(config, call.ports.keys.table()->All()).contains(workspace)) {
      return none("No workspace of the file or of a key has this name.");
    }
  } else {
    return none("An owner is key:ID or workspace:NAME.");
  }
  return OwnerOf(std::move(workspace), config);
}

AdminResponse NoWallet() {
  return Problem(ProblemType::kConflict,
                 "The owner's package has no wallet; set packages[].wallet in the file.");
}

std::optional<Instant> WhenItEnds(Instant expires_at) {
  return expires_at == ledger::kNoExpiry ? std::nullopt : std::optional(expires_at);
}

void WriteGrant(const gateway::GrantView& grant, Unit unit, JsonWriter& json) {
  json.Open('{')
      .Text("id", std::string(kGrantPrefix) + ToString(grant.id))
      .Text("category", CategoryText(grant.category))
      .Number("priority", grant.priority)
      .Time("effective_at",
            grant.effective_at == Instant{} ? std::nullopt : std::optional(grant.effective_at))
      .Time("expires_at", WhenItEnds(grant.expires_at));
  WriteAmount("amount", grant.amount, unit, json);
  WriteAmount("remaining", grant.remaining, unit, json);
  WriteAmount("held", grant.held, unit, json);
  json.Flag("revoked", grant.revoked).Close('}');
}

void WriteWallet(const Owner& owner, const WalletView& view, JsonWriter& json) {
  const auto package_unit = gateway::UnitOf(owner.package->wallet);
  const Amount low = package_unit == view.unit
                         ? gateway::WalletAmount(owner.package->wallet_low, view.unit)
                         : Amount{0};
  json.Text("owner", owner.name)
      .TextOrNull("name", owner.key ? owner.key->name : owner.workspace)
      .Text("unit", UnitText(view.unit))
      // False: what the package says now is another unit, or no wallet, so nothing is paid from it.
      .Flag("in_use", package_unit == view.unit);
  WriteAmount("available", view.available, view.unit, json);
  WriteAmount("held", view.held, view.unit, json);
  WriteAmount("upcoming", view.upcoming, view.unit, json);
  WriteAmount("spent", view.spent, view.unit, json);
  json.Flag("low", low.n > 0 && view.available.n < low.n - view.held.n);
}

AdminResponse WalletResponse(const Owner& owner, const WalletView& view) {
  JsonWriter json;
  json.Open('{');
  WriteWallet(owner, view, json);
  json.Open("grants", '[');
  for (const gateway::GrantView& grant : view.grants) WriteGrant(grant, view.unit, json);
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

// The grant that an Idempotency-Key stands for; without one, a new id.
Result<ledger::GrantId> GrantIdOf(const Call& call, std::string_view idempotency_key) {
  if (idempotency_key.empty()) {
    const auto random = call.ports.random();
    if (!random) return std::unexpected(random.error());
    std::uint64_t bits[2];
    std::memcpy(bits, random->data(), sizeof(bits));
    return ledger::GrantId{MakeId(call.now, bits[0], bits[1])};
  }
  const auto digest = call.ports.pepper.Digest("admin grant\n" + std::string(idempotency_key));
  ledger::GrantId id;
  std::memcpy(&id.high, digest.bytes.data(), sizeof(id.high));
  std::memcpy(&id.low, digest.bytes.data() + sizeof(id.high), sizeof(id.low));
  if constexpr (std::endian::native == std::endian::big) {
    id.high = std::byteswap(id.high);
    id.low = std::byteswap(id.low);
  }
  return id;
}

AdminResponse GrantResponse(const Owner& owner, const GrantRecord& grant, int status) {
  JsonWriter json;
  json.Open('{')
      .Text("id", std::string(kGrantPrefix) + ToString(grant.grant))
      .Text("owner", owner.name)
      .Text("unit", UnitText(grant.unit));
  WriteAmount("amount", grant.amount, grant.unit, json);
  json.Text("category", CategoryText(grant.category))
      .Number("priority", grant.priority)
      .Time("effective_at",
            grant.effective_at == Instant{} ? std::nullopt : std::optional(grant.effective_at))
      .Time("expires_at", WhenItEnds(grant.expires_at))
      .Close('}');
  return JsonResponse(json.Take(), status);
}

}  // namespace

AdminResponse ListWallets(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const std::string cursor = query.Text("cursor").value_or("");
  if (!query.errors().empty()) return InvalidBody(query.errors());
  call.ports.wallets.sweep();
  const auto config = call.ports.config();
  const auto keys = call.ports.keys.table()->All();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  std::int64_t count = 0;
  std::string last;
  std::string next;
  // False when the page is full.
  const auto show = [&](const Owner& owner) {
    for (const Unit unit : kUnits) {
      const auto view = call.ports.wallets.view(owner.WalletOf(unit));
      if (!view) continue;
      if (count >= limit) {
        next = last;
        return false;
      }
      json.Open('{');
      WriteWallet(owner, *view, json);
      json.Close('}');
      ++count;
    }
    last = owner.name;
    return true;
  };
  const auto list = [&] {
    // Keys first, for "key:" sorts before "workspace:": a cursor is the last owner of its page.
    for (const identity::KeyRecordPtr& key : keys) {
      if (!key->workspace.empty()) continue;
      const Owner owner = OwnerOf(key, *config);
      if (owner.name > cursor && !show(owner)) return;
    }
    for (const std::string& workspace : Workspaces(*config, keys)) {
      const Owner owner = OwnerOf(workspace, *config);
      if (owner.name > cursor && !show(owner)) return;
    }
  };
  list();
  json.Close(']').TextOrNull("next_cursor", next).Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetWallet(const Call& call) {
  const auto config = call.ports.config();
  const auto owner = FindOwner(call, *config);
  if (!owner) return owner.error();
  call.ports.wallets.sweep();
  const auto unit = gateway::UnitOf(owner->package->wallet);
  if (unit) {
    const ledger::WalletId id = owner->WalletOf(*unit);
    return WalletResponse(*owner, call.ports.wallets.view(id).value_or(
                                      WalletView{.id = id, .unit = *unit, .grants = {}}));
  }
  // What is left from when the package had one.
  for (const Unit past : kUnits) {
    if (const auto view = call.ports.wallets.view(owner->WalletOf(past))) {
      return WalletResponse(*owner, *view);
    }
  }
  return NoWallet();
}

AdminResponse CreateGrant(const Call& call) {
  const auto config = call.ports.config();
  const auto owner = FindOwner(call, *config);
  if (!owner) return owner.error();
  const auto unit = gateway::UnitOf(owner->package->wallet);
  if (!unit) return NoWallet();
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  const GrantTerms terms = ReadTerms(reader, *unit);
  std::optional<Instant> effective_at;
  std::optional<Instant> expires_at;
  reader.TimeOrNull("effective_at", effective_at);
  reader.TimeOrNull("expires_at", expires_at);
  reader.Finish();
  if (expires_at && *expires_at <= effective_at.value_or(Instant{})) {
    reader.Refuse("expires_at", "must be later than effective_at");
  }
  const std::string_view key = call.request.Find("idempotency-key");
  if (key.size() > kIdempotencyKeyMax ||
      !std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7F; })) {
    errors.push_back({.pointer = {},
                      .parameter = "Idempotency-Key",
                      .detail = "must be 1 to 255 visible ASCII characters"});
  }
  if (!errors.empty()) return InvalidBody(errors);
  const auto id = GrantIdOf(call, key);
  if (!id) return Problem(id.error());
  GrantRecord grant{.time = {},
                    .grant = *id,
                    .wallet = owner->WalletOf(*unit),
                    .unit = *unit,
                    .amount = terms.amount,
                    .priority = terms.priority,
                    // Not "now": the same request once more is the same grant.
                    .effective_at = effective_at.value_or(Instant{}),
                    .expires_at = expires_at.value_or(ledger::kNoExpiry),
                    .category = terms.category};
  const auto conflict = [] {
    return Problem(ProblemType::kConflict,
                   "This Idempotency-Key made another grant; use a new key for a new grant.");
  };
  if (const auto known = call.ports.wallets.find(*id)) {
    grant.time = known->time;
    if (grant != *known) return conflict();
    grant.time = {};
  } else {
    // A repeat of what was given may come after it expired; a new grant that late is a mistake.
    if (expires_at && *expires_at <= call.now) {
      reader.Refuse("expires_at", "must be in the future");
      return InvalidBody(errors);
    }
    const store::AuditNote note{
        call.now, std::string(call.actor), "grant",
        fmt::format("{} grant_{} of {}", CategoryText(grant.category), ToString(grant.grant),
                    AmountText(grant.amount, grant.unit))};
    if (auto noted = call.ports.wallets.store->Note(owner->name, note); !noted) {
      return Problem(noted.error());
    }
  }
  // Given again too: it then waits until the first is on disk.
  const auto given = call.ports.wallets.give(grant);
  if (!given) return Problem(given.error());
  if (given->status == gateway::GrantStatus::kConflict) return conflict();
  return GrantResponse(*owner, grant, given->status == gateway::GrantStatus::kCreated ? 201 : 200);
}

AdminResponse RevokeGrant(const Call& call) {
  std::string_view text = call.id;
  if (text.starts_with(kGrantPrefix)) text.remove_prefix(kGrantPrefix.size());
  const auto parsed = ParseId(text);
  const auto grant =
      parsed ? call.ports.wallets.find(ledger::GrantId{*parsed}) : std::optional<GrantRecord>();
  if (!grant) return Problem(ProblemType::kNotFound, "There is no grant with this id.");
  const auto shown = [&]() -> std::optional<gateway::GrantView> {
    const auto view = call.ports.wallets.view(grant->wallet);
    if (!view) return std::nullopt;
    const auto at = std::ranges::find(view->grants, grant->grant, &gateway::GrantView::id);
    return at == view->grants.end() ? std::nullopt : std::optional(*at);
  };
  // One that is used up, expired or revoked already has nothing to take back.
  Amount removed;
  if (const auto before = shown(); before && !before->revoked) {
    const store::AuditNote note{
        call.now, std::string(call.actor), "revoke",
        fmt::format("{} left of {}", AmountText(before->remaining, grant->unit),
                    AmountText(before->amount, grant->unit))};
    const std::string subject = std::string(kGrantPrefix) + ToString(grant->grant);
    if (auto noted = call.ports.wallets.store->Note(subject, note); !noted) {
      return Problem(noted.error());
    }
    const auto revoked = call.ports.wallets.revoke(grant->grant);
    if (!revoked) return Problem(revoked.error());
    removed = revoked->removed;
  }
  const auto after = shown();
  JsonWriter json;
  json.Open('{')
      .Text("id", std::string(kGrantPrefix) + ToString(grant->grant))
      .Text("unit", UnitText(grant->unit))
      .Flag("revoked", true);
  WriteAmount("removed", removed, grant->unit, json);
  // What requests hold now is taken as far as they give it back.
  WriteAmount("held", after ? after->held : Amount{0}, grant->unit, json);
  json.Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetWalletAudit(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const auto before = query.Count("cursor", 1, INT64_MAX).value_or(0);
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto entries = call.ports.wallets.store->Audit(before, static_cast<int>(limit));
  if (!entries) return Problem(entries.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const store::WalletAuditEntry& entry : *entries) {
    json.Open('{')
        .Number("sequence", entry.sequence)
        .Time("at", entry.note.at)
        .Text("actor", entry.note.actor)
        .Text("action", entry.note.action)
        .Text("subject", entry.subject)
        .TextOrNull("detail", entry.note.detail)
        .Close('}');
  }
  const bool more =
      static_cast<std::int64_t>(entries->size()) == limit && entries->back().sequence > 1;
  json.Close(']')
      .TextOrNull("next_cursor", more ? std::to_string(entries->back().sequence) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
