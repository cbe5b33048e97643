// The accounts resource: what the operator's credentials may be used for, how they fare, and
// changing both while the gateway runs.
//
// An id is "upstream/name", or the upstream's name where it has just the one account. In a path its
// '/' is written %2F, as clients do by themselves that encode path parameters.
//
// Accounts come from two sources. Those of the file follow the file: here they can be switched off
// and drained, which is kept beside the file and outlives a reload. Those made here are kept sealed
// in accounts.db. A credential goes in and never comes out; its last four characters tell one from
// another.

#include "config/accounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "admin/account_json.h"
#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "config/scalar.h"
#include "store/account_store.h"
#include "store/key_store.h"

namespace weir::admin {

namespace {

using config::Account;
using config::Config;

constexpr std::int64_t kCoolSecondsMax = 30LL * 24 * 3600;
// Fewer characters shown of a short credential: four of eight would be half of it.
constexpr std::size_t kShownOf = 16;
constexpr std::size_t kShown = 4;

// An account as the resource has it.
struct Entry {
  std::string upstream;
  const Account* account = nullptr;
  bool made_here = false;
  bool in_force = true;  // false: its upstream is gone from the file, or the file took its id
};

// Everything there is, sorted by id. The entries point into `config` and `stored`.
std::vector<Entry> AllEntries(const Call& call, const Config& config,
                              const std::vector<config::StoredAccount>& stored) {
  // Those of the file stand in front.
  const std::size_t filed = call.ports.accounts.file()->accounts.size();
  const auto find_stored = [&](const std::string& id) {
    const auto at = std::ranges::lower_bound(
        stored, id, {}, [](const auto& one) -> const std::string& { return one.account.id; });
    return at != stored.end() && at->account.id == id ? at : stored.end();
  };
  std::vector<Entry> entries;
  std::vector<bool> shown(stored.size());
  for (std::size_t i = 0; i < config.accounts.size(); ++i) {
    const Account& account = config.accounts[i];
    const auto made = find_stored(account.id);
    const bool made_here = made != stored.end() && i >= filed;
    if (made_here) shown[static_cast<std::size_t>(made - stored.begin())] = true;
    entries.push_back({.upstream = account.upstream < config.upstreams.size()
                                       ? config.upstreams[account.upstream].name
                                       : std::string(),
                       .account = &account,
                       .made_here = made_here});
  }
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (shown[i]) continue;
    entries.push_back({.upstream = stored[i].upstream,
                       .account = &stored[i].account,
                       .made_here = true,
                       .in_force = false});
  }
  // Of two with one id the one in force comes first.
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    if (a.account->id != b.account->id) return a.account->id < b.account->id;
    return a.in_force && !b.in_force;
  });
  return entries;
}

void WriteState(const Call& call, const Entry& entry, JsonWriter& json) {
  const auto view = entry.in_force ? call.ports.accounts.view(entry.account->id) : std::nullopt;
  if (!view) {
    json.Null("state");
    return;
  }
  using routing::Fitness;
  const bool rests = view->fitness == Fitness::kCooling || view->fitness == Fitness::kCoolingSoft;
  const bool half_open = view->fitness == Fitness::kHalfOpen;
  const bool off = !entry.account->enabled || entry.account->draining ||
                   (entry.account->expires_at && *entry.account->expires_at <= call.now);
  json.Open("state", '{')
      .Text("fitness", rests       ? "resting"
                       : half_open ? "half_open"
                                   : "open")
      .TextOrNull("why", rests || half_open ? routing::Name(view->why) : std::string_view())
      .Number("rests_for_seconds", rests ? CeilSeconds(view->rests_for) : 0)
      .Flag("usable", view->usable)
      .Flag("errs", view->errs)
      .Flag("slow", view->slow)
      .Number("in_flight", view->in_flight)
      .Number("served", view->served)
      .Number("failed", view->failed)
      .Number("latency_ms", view->latency.ns / 1'000'000);
  // Calls at once that it takes as it is now; half open it takes one to see.
  if (off || rests) {
    json.Number("capacity", 0);
  } else if (half_open) {
    json.Number("capacity", 1);
  } else if (entry.account->concurrency > 0) {
    json.Number("capacity", entry.account->concurrency);
  } else {
    json.Null("capacity");
  }
  json.Close('}');
}

void WriteEntry(const Call& call, const Entry& entry, JsonWriter& json) {
  const std::string_view key = entry.account->api_key.Reveal();
  json.Open('{')
      .Text("id", entry.account->id)
      .Text("upstream", entry.upstream)
      .Text("source", entry.made_here ? "api" : "file")
      .Flag("in_force", entry.in_force)
      .TextOrNull("api_key", key.empty() ? "" : "***")
      .TextOrNull("api_key_ends_in",
                  key.size() >= kShownOf ? key.substr(key.size() - kShown) : std::string_view());
  WriteAccountTerms(*entry.account, json);
  WriteState(call, entry, json);
  json.Close('}');
}

AdminResponse EntryResponse(const Call& call, const Entry& entry, int status = 200) {
  JsonWriter json;
  WriteEntry(call, entry, json);
  return JsonResponse(json.Take(), status);
}

// The id of a path: %2F is its '/', and nothing else of it needs an escape.
std::string DecodeId(std::string_view text) {
  std::string id;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view three = text.substr(i, 3);
    if (three == "%2F" || three == "%2f") {
      id += '/';
      i += 2;
    } else {
      id += text[i];
    }
  }
  return id;
}

// What the path names, with what it points into.
struct Found {
  std::shared_ptr<const Config> config;
  std::vector<config::StoredAccount> stored;
  Entry entry;
};

std::expected<Found, AdminResponse> FindAccount(const Call& call, const std::string& id) {
  Found found{
      .config = call.ports.config(), .stored = call.ports.accounts.store->accounts(), .entry = {}};
  for (Entry& entry : AllEntries(call, *found.config, found.stored)) {
    if (entry.account->id != id) continue;
    found.entry = std::move(entry);  // the first: the one in force, if either is
    break;
  }
  if (found.entry.account == nullptr) {
    return std::unexpected(
        Problem(ProblemType::kNotFound,
                "There is no account with this id. In a path its slash is written %2F."));
  }
  return found;
}

AdminResponse Shown(const Call& call, const std::string& id, int status = 200) {
  const auto found = FindAccount(call, id);
  return found ? EntryResponse(call, found->entry, status) : found.error();
}

store::AuditNote NoteOf(const Call& call, std::string action, std::string detail) {
  return {.at = call.now,
          .actor = std::string(call.actor),
          .action = std::move(action),
          .detail = std::move(detail)};
}

constexpr std::array kCapabilities = {
    std::pair(std::string_view("responses"), config::kCapResponses),
    std::pair(std::string_view("chat"), config::kCapChat),
    std::pair(std::string_view("transcription"), config::kCapTranscription),
    std::pair(std::string_view("audioTranscription"), config::kCapTranscription),
    std::pair(std::string_view("messages"), config::kCapMessages),
    std::pair(std::string_view("generate_content"), config::kCapGenerateContent)};

// "upstreams[].accounts[].NAME", which has the bounds of the member NAME.
std::string OptionPath(std::string_view name) {
  return fmt::format("upstreams[].accounts[].{}", name);
}

void ReadCapabilities(ObjectReader& reader, std::uint32_t& capabilities) {
  std::vector<std::string> names;
  if (!reader.Texts("capabilities", OptionPath("models"), ObjectReader::Null::kMeansAll, names)) {
    return;
  }
  std::uint32_t bits = 0;
  for (const std::string& name : names) {
    const auto known = std::ranges::find(kCapabilities, std::string_view(name),
                                         &std::pair<std::string_view, config::Capability>::first);
    if (known == kCapabilities.end()) {
      reader.Refuse("capabilities",
                    "must be of responses, chat, transcription, messages, generate_content");
      return;
    }
    bits |= known->second;
  }
  capabilities = names.empty() ? config::kCapsAll : bits;
}

// A model of the list must have a route to the upstream, or no call would ever come of it.
void CheckModels(const Config& config, const std::string& upstream, const Account& account,
                 ObjectReader& reader) {
  const auto owner = std::ranges::find(config.upstreams, upstream, &config::Upstream::name);
  if (owner == config.upstreams.end()) return;
  const auto index = static_cast<std::uint32_t>(owner - config.upstreams.begin());
  for (const std::string& id : account.models) {
    const config::Model* model = config.FindModel(id);
    if (model == nullptr) {
      reader.Refuse("models", fmt::format("names no model of the configuration: {:.64}", id));
    } else if (std::ranges::find(model->routes, index, &config::ModelRoute::upstream) ==
               model->routes.end()) {
      reader.Refuse("models", fmt::format("{:.64} has no route to {}", id, upstream));
    }
  }
}

// The members that creating and changing share. Returns what changed, for the audit trail: names
// and never a credential.
std::vector<std::string> ReadTerms(const Call& call, const Config& config,
                                   const std::string& upstream, ObjectReader& reader,
                                   Account& account) {
  const Account before = account;
  std::vector<std::string> changes;
  const auto note = [&](bool differs, std::string text) {
    if (differs) changes.push_back(std::move(text));
  };
  std::string credential;
  if (reader.TextOrNull("api_key", OptionPath("api_key"), credential)) {
    account.api_key = Secret(std::move(credential));
    note(account.api_key != before.api_key, "api_key");
  }
  reader.Flag("enabled", account.enabled);
  note(account.enabled != before.enabled, fmt::format("enabled {}", account.enabled));
  reader.Flag("draining", account.draining);
  note(account.draining != before.draining, fmt::format("draining {}", account.draining));
  if (reader.Texts("models", OptionPath("models"), ObjectReader::Null::kMeansAll, account.models)) {
    CheckModels(config, upstream, account, reader);
  }
  note(account.models != before.models,
       account.models.empty() ? "models all"
                              : fmt::format("models [{}]", fmt::join(account.models, " ")));
  ReadCapabilities(reader, account.capabilities);
  note(account.capabilities != before.capabilities, "capabilities");
  const auto count = [&](std::string_view name, std::int64_t was) {
    const config::Option* option = config::FindOption(OptionPath(name));
    std::int64_t value = was;
    reader.Count(name, option->min, option->max, value);
    note(value != was, fmt::format("{} {} -> {}", name, was, value));
    return value;
  };
  account.weight = static_cast<std::int32_t>(count("weight", before.weight));
  account.priority = static_cast<std::int32_t>(count("priority", before.priority));
  account.concurrency = count("concurrency", before.concurrency);
  account.requests_per_minute = count("requests_per_minute", before.requests_per_minute);
  account.tokens_per_minute = count("tokens_per_minute", before.tokens_per_minute);
  if (reader.TimeOrNull("expires_at", account.expires_at) && account.expires_at &&
      *account.expires_at <= call.now) {
    reader.Refuse("expires_at", "must be in the future");
  }
  note(account.expires_at != before.expires_at, "expires_at");
  if (reader.Texts("reserved_for", OptionPath("reserved_for"), ObjectReader::Null::kRefused,
                   account.keys)) {
    for (const std::string& key : account.keys) {
      if (call.ports.keys.FindByName(key) != nullptr) continue;
      reader.Refuse("reserved_for", fmt::format("names no key in use: {:.64}", key));
    }
  }
  note(account.keys != before.keys, fmt::format("reserved_for [{}]", fmt::join(account.keys, " ")));
  static constexpr std::array<std::string_view, 2> kProfiles = {"openai_api", "responses_strict"};
  std::string profile;
  if (reader.Choice("profile", kProfiles, profile)) {
    account.adapt = profile == kProfiles[1] ? config::AdaptProfile::kResponsesStrict
                                            : config::AdaptProfile::kOpenAiApi;
  }
  note(account.adapt != before.adapt, "profile " + profile);
  std::string proxy;
  if (reader.TextOrNull("proxy", OptionPath("proxy"), proxy)) {
    account.proxy = config::ParseProxy(proxy);
    if (!proxy.empty() && !account.proxy) {
      reader.Refuse("proxy", "must be a proxy such as \"http://127.0.0.1:3128\", or null");
    }
  }
  note(account.proxy != before.proxy, "proxy");
  return changes;
}

std::string Joined(const std::vector<std::string>& changes) {
  return fmt::format("{}", fmt::join(changes, "; ")).substr(0, 1000);
}

// An account without a credential can only be refused, unless its upstream asks for none.
void CheckCredential(const Config& config, const std::string& upstream, ObjectReader& reader) {
  if (reader.Has("api_key")) return;
  const auto owner = std::ranges::find(config.upstreams, upstream, &config::Upstream::name);
  if (owner != config.upstreams.end() && owner->kind == config::UpstreamKind::kSandbox) return;
  reader.Refuse("api_key", "is missing; null sends none");
}

// Stores an override of an account of the file. What the file says anyway needs none.
Result<void> StoreOverride(const Call& call, const Account& wanted, const store::AuditNote& note) {
  const auto file = call.ports.accounts.file();
  const auto filed = std::ranges::find(file->accounts, wanted.id, &Account::id);
  config::AccountOverride change{.account = wanted.id, .enabled = {}, .draining = {}};
  if (filed == file->accounts.end() || filed->enabled != wanted.enabled) {
    change.enabled = wanted.enabled;
  }
  if (filed == file->accounts.end() || filed->draining != wanted.draining) {
    change.draining = wanted.draining;
  }
  return call.ports.accounts.store->Override(change, note);
}

// Stores `wanted` in place of what was found, and shows it to the workers.
Result<void> StoreChange(const Call& call, const Entry& entry, const Account& wanted,
                         store::AuditNote note) {
  const auto stored = entry.made_here ? call.ports.accounts.store->Update(
                                            {.upstream = entry.upstream, .account = wanted}, note)
                                      : StoreOverride(call, wanted, note);
  if (stored) call.ports.accounts.changed();
  return stored;
}

AdminResponse SetDraining(const Call& call, bool draining) {
  const auto body = ParseBody(call.request, /*may_be_empty=*/true);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader(*body, "", errors).Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const std::string id = DecodeId(call.id);
  const auto found = FindAccount(call, id);
  if (!found) return found.error();
  if (found->entry.account->draining != draining) {
    Account wanted = *found->entry.account;
    wanted.draining = draining;
    const auto stored =
        StoreChange(call, found->entry, wanted, NoteOf(call, draining ? "drain" : "undrain", ""));
    if (!stored) return Problem(stored.error());
  }
  return Shown(call, id);
}

// An account whose health can be spoken about, or the response that says why not.
std::expected<std::string, AdminResponse> FindInForce(const Call& call) {
  std::string id = DecodeId(call.id);
  const auto found = FindAccount(call, id);
  if (!found) return std::unexpected(found.error());
  if (!found->entry.in_force) {
    return std::unexpected(Problem(ProblemType::kConflict,
                                   "The account is not in force: the file has no upstream of "
                                   "this name, or an account of its own with this id."));
  }
  return id;
}

}  // namespace

AdminResponse ListAccounts(const Call& call) {
  static constexpr std::array<std::string_view, 4> kKnown = {"limit", "cursor", "upstream",
                                                             "source"};
  QueryReader query(call.request.query, kKnown);
  const auto limit =
      static_cast<std::size_t>(query.Count("limit", 1, kPageMax).value_or(kPageDefault));
  const auto cursor = query.Text("cursor");
  const auto upstream = query.Text("upstream");
  const auto source = query.Text("source");
  if (source && *source != "file" && *source != "api") {
    query.Refuse("source", "must be one of: file, api");
  }
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto config = call.ports.config();
  const auto stored = call.ports.accounts.store->accounts();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  std::size_t count = 0;
  std::string last;
  std::string next;
  for (const Entry& entry : AllEntries(call, *config, stored)) {
    const std::string& id = entry.account->id;
    if (cursor && id <= *cursor) continue;
    if (upstream && *upstream != entry.upstream) continue;
    if (source && (*source == "api") != entry.made_here) continue;
    // Two of one id are on one page.
    if (count >= limit && id != last) {
      next = last;
      break;
    }
    WriteEntry(call, entry, json);
    last = id;
    ++count;
  }
  json.Close(']').TextOrNull("next_cursor", next).Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetAccount(const Call& call) { return Shown(call, DecodeId(call.id)); }

AdminResponse CreateAccount(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  const auto config = call.ports.config();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  config::StoredAccount wanted;
  std::string name;
  if (!reader.Text("name", OptionPath("name"), name) && !reader.Has("name")) {
    reader.Refuse("name", "is missing");
  }
  if (!reader.Text("upstream", "upstreams[].name", wanted.upstream)) {
    if (!reader.Has("upstream")) reader.Refuse("upstream", "is missing");
  } else if (std::ranges::find(config->upstreams, wanted.upstream, &config::Upstream::name) ==
             config->upstreams.end()) {
    std::vector<std::string_view> names;
    for (const config::Upstream& known : config->upstreams) {
      if (names.size() < 20) names.push_back(known.name);
    }
    reader.Refuse("upstream", fmt::format("names no upstream of the configuration; known are: {}",
                                          fmt::join(names, ", ")));
  }
  wanted.account.id = wanted.upstream + "/" + name;
  const auto changes = ReadTerms(call, *config, wanted.upstream, reader, wanted.account);
  CheckCredential(*config, wanted.upstream, reader);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const bool taken = std::ranges::find(config->accounts, wanted.account.id, &Account::id) !=
                     config->accounts.end();
  if (taken) {
    return Problem(
        ProblemType::kConflict,
        fmt::format("There is an account {} already; choose another name.", wanted.account.id));
  }
  if (config->accounts.size() >= store::kStoredAccountsMax) {
    return Problem(ProblemType::kConflict,
                   fmt::format("There are {} accounts already, which is the most.",
                               store::kStoredAccountsMax));
  }
  const auto stored =
      call.ports.accounts.store->Insert(wanted, NoteOf(call, "create", Joined(changes)));
  if (!stored) return Problem(stored.error());
  call.ports.accounts.changed();
  AdminResponse response = Shown(call, wanted.account.id, 201);
  response.headers +=
      fmt::format("location: /admin/v1/accounts/{}%2F{}\r\n", wanted.upstream, name);
  return response;
}

AdminResponse PatchAccount(const Call& call) {
  const std::string id = DecodeId(call.id);
  const auto found = FindAccount(call, id);
  if (!found) return found.error();
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  const Entry& entry = found->entry;
  Account wanted = *entry.account;
  std::vector<std::string> changes;
  if (entry.made_here) {
    changes = ReadTerms(call, *found->config, entry.upstream, reader, wanted);
    reader.Finish();
  } else {
    reader.Flag("enabled", wanted.enabled);
    reader.Flag("draining", wanted.draining);
    for (const auto& member : *body) {
      const std::string_view name = member.key();
      if (name == "enabled" || name == "draining") continue;
      reader.Refuse(name,
                    "cannot be changed here: the account is in the configuration file, so only "
                    "enabled and draining can; change the file and reload");
    }
    if (wanted.enabled != entry.account->enabled) {
      changes.push_back(fmt::format("enabled {}", wanted.enabled));
    }
    if (wanted.draining != entry.account->draining) {
      changes.push_back(fmt::format("draining {}", wanted.draining));
    }
  }
  if (!errors.empty()) return InvalidBody(errors);
  if (!changes.empty()) {
    std::string action = "change";
    if (wanted.enabled != entry.account->enabled) action = wanted.enabled ? "enable" : "disable";
    const auto stored =
        StoreChange(call, entry, wanted, NoteOf(call, std::move(action), Joined(changes)));
    if (!stored) return Problem(stored.error());
  }
  return Shown(call, id);
}

AdminResponse DeleteAccount(const Call& call) {
  const std::string id = DecodeId(call.id);
  const auto found = FindAccount(call, id);
  if (!found) return found.error();
  const auto removed = call.ports.accounts.store->Remove(id, NoteOf(call, "delete", ""));
  if (!removed) {
    if (removed.error().code != ErrorCode::kNotFound) return Problem(removed.error());
    return Problem(ProblemType::kConflict,
                   "The account is in the configuration file; remove it there, or switch it off "
                   "here with PATCH and enabled: false.");
  }
  call.ports.accounts.changed();
  Entry gone = found->entry;
  gone.in_force = false;
  return EntryResponse(call, gone);
}

AdminResponse CoolAccount(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  std::int64_t seconds = 0;
  if (!reader.Count("seconds", 1, kCoolSecondsMax, seconds) && !reader.Has("seconds")) {
    reader.Refuse("seconds", "is missing");
  }
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const auto id = FindInForce(call);
  if (!id) return id.error();
  const auto noted =
      call.ports.accounts.store->Note(*id, NoteOf(call, "cool", fmt::format("{} s", seconds)));
  if (!noted) return Problem(noted.error());
  call.ports.accounts.cool(*id, Seconds(seconds));
  return Shown(call, *id);
}

AdminResponse ClearAccount(const Call& call) {
  const auto body = ParseBody(call.request, /*may_be_empty=*/true);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader(*body, "", errors).Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const auto id = FindInForce(call);
  if (!id) return id.error();
  const auto noted = call.ports.accounts.store->Note(*id, NoteOf(call, "clear", ""));
  if (!noted) return Problem(noted.error());
  call.ports.accounts.clear(*id);
  return Shown(call, *id);
}

AdminResponse DrainAccount(const Call& call) { return SetDraining(call, true); }
AdminResponse UndrainAccount(const Call& call) { return SetDraining(call, false); }

AdminResponse GetAccountAudit(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const auto before = query.Count("cursor", 1, INT64_MAX).value_or(0);
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto entries = call.ports.accounts.store->Audit(before, static_cast<int>(limit));
  if (!entries) return Problem(entries.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const store::AccountAuditEntry& entry : *entries) {
    json.Open('{')
        .Number("sequence", entry.sequence)
        .Time("at", entry.note.at)
        .Text("actor", entry.note.actor)
        .Text("action", entry.note.action)
        .Text("account", entry.account)
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
