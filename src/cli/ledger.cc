// `weir ledger ...`: the books of a data directory. Those of a gateway that is stopped are read
// from its file, in which nothing is changed; those of one that runs, which has the file alone, are
// asked of it. Either way every record is read and checked here, and what is shown is replayed from
// the first one by the same machine that serves, so it is what a gateway that starts now would
// know.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <concepts>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "admin/call.h"
#include "admin/json_writer.h"
#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/quota_lines.h"
#include "cli/running_journal.h"
#include "config/price_codec.h"
#include "config/scalar.h"
#include "gateway/credit_control.h"
#include "gateway/ledger_audit.h"
#include "gateway/wallet_owner.h"
#include "ledger/record.h"
#include "policy/quota_unit.h"
#include "store/key_names.h"
#include "store/sqlite_journal.h"
#include "telemetry/log.h"

namespace weir::cli {
namespace {

using store::SqliteJournal;

struct Options {
  std::string data_dir = "weir-data";
  bool json = false;
  std::string anchor;
  std::string key;
  std::string since;
  std::string until;
  std::string at;
  std::string format = "jsonl";
};

constexpr const char* kLedgerFile = "/ledger.db";

Instant WallNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

std::string Hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

// ---- reading --------------------------------------------------------------------------------

// Sees a record and its position; a sentence ends the reading as a failure, false as done.
using SeeRecord =
    std::function<std::optional<std::string>(const ledger::Record& record, std::uint64_t position)>;

// The books of a data directory, from wherever they can be had.
struct Books {
  std::unique_ptr<store::JournalReader> journal;  // null: none, which has been said
  bool running = false;
};

// How the gateway of the data directory is asked: by what it left there, whatever the environment
// says of another one.
Connection ConnectionOf(const Options& options) { return {.data_dir = options.data_dir}; }

Books OpenBooks(const Options& options) {
  auto file = SqliteJournal::Open(options.data_dir + kLedgerFile, {.read_only = true});
  if (file) return {.journal = std::move(*file)};
  std::string why = file.error().detail;
  if (file.error().code == ErrorCode::kNotFound) {
    why += "; name the data directory of weir serve with --data-dir";
  } else if (file.error().code == ErrorCode::kConflict) {
    auto running = std::make_unique<RunningJournal>(ConnectionOf(options));
    const auto reached = running->Reach();
    if (reached) return {.journal = std::move(running), .running = true};
    why += "; and it cannot be asked: " + reached.error().detail;
  }
  PrintError(why);
  return {};
}

// Reads all of it. False when it could not, which has been said.
bool ReadRecords(store::JournalReader& journal, const SeeRecord& see) {
  const auto read =
      journal.ReadAll([&](const store::JournalBatch& batch) -> std::optional<std::string> {
        std::span<const std::uint8_t> bytes = batch.records;
        for (std::uint32_t i = 0; i < batch.count; ++i) {
          const auto record = ledger::Decode(bytes);
          if (!record) {
            return "record " + std::to_string(i + 1) + ": " + std::string(Name(record.error()));
          }
          if (auto problem = see(*record, batch.first_position + i)) return problem;
        }
        if (!bytes.empty()) return "bytes after the last record";
        return std::nullopt;
      });
  if (!read) PrintError(read.error().detail);
  return read.has_value();
}

Instant TimeOf(const ledger::Record& record) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.time; }) {
          return one.time;
        } else {
          return Instant{};
        }
      },
      record);
}

// What a record says, as one flat row; members that its kind does not have stay empty.
struct Row {
  std::uint64_t position = 0;
  Instant time;
  std::string_view kind = "other";
  std::optional<RequestId> request;
  std::optional<KeyId> key;
  std::optional<NanoUsd> held;
  std::optional<NanoUsd> charged;
  std::optional<NanoUsd> overrun;
  std::optional<NanoUsd> released;
  std::optional<NanoUsd> budget_change;
  std::optional<bool> capped;
  std::string_view cause;
  std::optional<Usage> usage;
  std::optional<std::uint32_t> price_version;  // of versions 1 and 2
  std::optional<std::uint64_t> price_id;
  // Of wallets, in their unit.
  std::optional<ledger::WalletId> wallet;
  std::optional<ledger::Unit> unit;
  std::optional<std::int64_t> wallet_held;
  std::optional<std::int64_t> wallet_charged;
  std::optional<std::int64_t> wallet_overrun;
  std::optional<std::int64_t> multiplier_ppm;
  std::vector<ledger::HoldLine> lines;
  std::optional<ledger::GrantId> grant;
  std::optional<std::int64_t> amount;  // given, or taken off
  // Of policies, in steps of their unit.
  std::optional<std::uint32_t> counter;
  std::string policy;
  std::string values;
  std::string_view quota_unit;
  std::string_view window;  // its kind
  std::optional<std::int64_t> bucket_ns;
  std::optional<Instant> starts_at;
  std::optional<Instant> ends_at;
  std::string_view rule;
  std::optional<std::int64_t> percent;
  std::optional<std::int64_t> settled;
  std::optional<std::int64_t> limit;
  bool holds = false;  // what the quota lines say is held, not used
  std::vector<NamedLine> quotas;
};

constexpr std::string_view kWindowNames[] = {"minute",   "hour",     "day",     "week",  "month",
                                             "campaign", "lifetime", "request", "action"};

std::string_view RuleName(ledger::QuotaRule rule) {
  switch (rule) {
    case ledger::QuotaRule::kNone:
      return "none";
    case ledger::QuotaRule::kHard:
      return "hard";
    case ledger::QuotaRule::kFirm:
      return "firm";
  }
  return "none";
}

std::string_view CauseName(ledger::ResolveCause cause) {
  return cause == ledger::ResolveCause::kRecovery ? "recovery" : "exchange";
}

std::string_view CategoryName(ledger::GrantCategory category) {
  switch (category) {
    case ledger::GrantCategory::kPaid:
      return "paid";
    case ledger::GrantCategory::kPromo:
      return "promo";
    case ledger::GrantCategory::kPlan:
      return "plan";
  }
  return "paid";
}

void NoteHold(const std::optional<ledger::WalletHold>& hold, Row& row) {
  if (!hold) return;
  row.wallet = hold->wallet;
  row.unit = hold->unit;
  row.multiplier_ppm = hold->multiplier_ppm;
  row.lines = hold->lines;
  ledger::Sum held = 0;
  for (const ledger::HoldLine& line : hold->lines) held += line.amount.n;
  row.wallet_held = ledger::Clipped(held).n;
}

// Who a row about a counter is about.
void NoteCounter(const ledger::CounterRecord* counter, Row& row) {
  if (counter == nullptr) return;
  row.policy = counter->policy;
  row.values = counter->values;
  if (counter->unit < config::kQuotaUnits) {
    row.quota_unit = Name(static_cast<config::QuotaUnit>(counter->unit));
  }
}

// `quotas`: names what the record says by number, and is told every record in order.
Row RowOf(const ledger::Record& record, std::uint64_t position, QuotaLines& quotas) {
  Row row{.position = position, .time = TimeOf(record)};
  row.quotas = quotas.See(record);
  std::visit(
      [&](const auto& one) {
        using Kind = std::remove_cvref_t<decltype(one)>;
        if constexpr (requires { requires std::same_as<decltype(one.request), RequestId>; }) {
          row.request = one.request;
        }
        if constexpr (requires { requires std::same_as<decltype(one.key), KeyId>; }) {
          if (!one.key.empty()) row.key = one.key;  // notes of version 3 leave it out
        }
        if constexpr (requires { one.price_id; }) {
          if (one.price_id != 0) row.price_id = one.price_id;
        }
        if constexpr (requires { one.price.version; }) {
          if (one.price.version != 0) row.price_version = one.price.version;
        }
        if constexpr (requires { one.wallet->lines; }) NoteHold(one.wallet, row);
        if constexpr (std::same_as<Kind, ledger::IntentRecord>) {
          row.kind = "intent";
          row.held = one.hold;
          row.holds = true;
        } else if constexpr (std::same_as<Kind, ledger::CheckpointRecord>) {
          row.kind = "checkpoint";
          row.usage = one.usage;
        } else if constexpr (std::same_as<Kind, ledger::SettleRecord>) {
          row.kind = "settle";
          row.charged = one.charged;
          row.overrun = one.overrun;
          row.cause = CauseName(one.cause);
          row.usage = one.usage;
          if (one.wallet) {
            row.wallet_charged = one.wallet->charged.n;
            row.wallet_overrun = one.wallet->overrun.n;
          }
        } else if constexpr (std::same_as<Kind, ledger::VoidRecord>) {
          row.kind = "void";
          row.released = one.released;
          row.cause = CauseName(one.cause);
          row.usage = one.usage;
        } else if constexpr (std::same_as<Kind, ledger::FundRecord>) {
          row.kind = "fund";
          row.budget_change = one.amount;
          row.capped = one.capped;
        } else if constexpr (std::same_as<Kind, ledger::PriceRecord>) {
          row.kind = "price";
          row.price_id = one.id;
        } else if constexpr (std::same_as<Kind, ledger::ExtendRecord>) {
          row.kind = "extend";
          row.held = one.hold;
          row.holds = true;
        } else if constexpr (std::same_as<Kind, ledger::GrantRecord>) {
          row.kind = "grant";
          row.grant = one.grant;
          row.wallet = one.wallet;
          row.unit = one.unit;
          row.amount = one.amount.n;
          row.cause = CategoryName(one.category);
        } else if constexpr (std::same_as<Kind, ledger::GrantEndRecord>) {
          row.kind = "grant_end";
          row.grant = one.grant;
          row.amount = one.removed.n;
          row.cause = one.reason == ledger::GrantEndReason::kExpired ? "expired" : "revoked";
        } else if constexpr (std::same_as<Kind, ledger::CounterRecord>) {
          row.kind = "counter";
          row.counter = one.number;
          NoteCounter(&one, row);
          if (one.window < std::size(kWindowNames)) row.window = kWindowNames[one.window];
          if (one.bucket.ns > 0) row.bucket_ns = one.bucket.ns;
        } else if constexpr (std::same_as<Kind, ledger::WindowRecord>) {
          row.kind = "window";
          row.counter = one.number;
          NoteCounter(quotas.Find(one.number), row);
          row.starts_at = one.starts_at;
          if (one.ends_at.ns != INT64_MAX) row.ends_at = one.ends_at;
          row.rule = RuleName(one.rule);
          row.limit = one.limit.n;
        } else if constexpr (std::same_as<Kind, ledger::AlertRecord>) {
          row.kind = "alert";
          row.counter = one.number;
          NoteCounter(quotas.Find(one.number), row);
          row.percent = one.percent;
          row.settled = one.settled.n;
          row.limit = one.limit.n;
        }
      },
      record);
  return row;
}

std::string RowJson(const Row& row) {
  admin::JsonWriter json;
  json.Open('{')
      .Number("position", static_cast<std::int64_t>(row.position))
      .Time("time", row.time)
      .Text("kind", row.kind);
  if (row.request) json.Text("request_id", admin::RequestIdText(*row.request));
  if (row.key) json.Text("key_id", admin::KeyIdText(*row.key));
  if (row.held) json.Usd("held_usd", row.held);
  if (row.charged) json.Usd("charged_usd", row.charged);
  if (row.overrun) json.Usd("overrun_usd", row.overrun);
  if (row.released) json.Usd("released_usd", row.released);
  if (row.budget_change) json.Usd("budget_change_usd", row.budget_change);
  if (row.capped) json.Flag("capped", *row.capped);
  if (!row.cause.empty()) json.Text("cause", row.cause);
  if (row.usage) {
    json.Text("usage_source", Name(row.usage->source))
        .Number("input_tokens", row.usage->input_tokens)
        .Number("cached_input_tokens", row.usage->cached_input_tokens)
        .Number("cache_write_tokens", row.usage->cache_write_tokens)
        .Number("output_tokens", row.usage->output_tokens)
        .Number("reasoning_tokens", row.usage->reasoning_tokens)
        .Number("audio_ms", row.usage->audio_ms);
  }
  if (row.price_version) json.Number("price_version", *row.price_version);
  if (row.price_id) json.Text("price_id", config::Format({*row.price_id}));
  if (row.wallet) json.Text("wallet_id", ToString(*row.wallet));
  if (row.unit) json.Text("wallet_unit", Name(*row.unit));
  if (row.grant) json.Text("grant_id", ToString(*row.grant));
  const auto number = [&](std::string_view name, const std::optional<std::int64_t>& value) {
    if (value) json.Number(name, *value);
  };
  number("wallet_held", row.wallet_held);
  number("wallet_charged", row.wallet_charged);
  number("wallet_overrun", row.wallet_overrun);
  number("multiplier_ppm", row.multiplier_ppm);
  number("amount", row.amount);
  if (!row.lines.empty()) {
    json.Open("lines", '[');
    for (const ledger::HoldLine& line : row.lines) {
      json.Open('{')
          .Text("grant_id", ToString(line.grant))
          .Number("amount", line.amount.n)
          .Close('}');
    }
    json.Close(']');
  }
  if (row.counter) json.Number("counter", *row.counter);
  if (row.counter) json.Text("policy", row.policy);
  if (!row.values.empty()) json.Text("values", row.values);
  if (!row.quota_unit.empty()) json.Text("unit", row.quota_unit);
  if (!row.window.empty()) json.Text("window", row.window);
  number("bucket_ns", row.bucket_ns);
  if (row.starts_at) json.Time("starts_at", row.starts_at);
  if (row.ends_at) json.Time("ends_at", row.ends_at);
  if (!row.rule.empty()) json.Text("rule", row.rule);
  number("percent", row.percent);
  number("settled", row.settled);
  number("limit", row.limit);
  if (!row.quotas.empty()) {
    json.Open("quotas", '[');
    for (const NamedLine& line : row.quotas) {
      json.Open('{').Number("counter", line.counter).Text("policy", line.policy);
      if (!line.values.empty()) json.Text("values", line.values);
      json.Text("unit", Name(line.unit))
          .Number(row.holds ? "held" : "used", line.amount)
          .Close('}');
    }
    json.Close(']');
  }
  return json.Close('}').Take();
}

constexpr const char* kCsvHead =
    "position,time,kind,request_id,key_id,held_usd,charged_usd,overrun_usd,released_usd,"
    "budget_change_usd,capped,cause,usage_source,input_tokens,cached_input_tokens,"
    "cache_write_tokens,output_tokens,reasoning_tokens,audio_ms,price_version,price_id,wallet_id,"
    "wallet_unit,grant_id,wallet_held,wallet_charged,wallet_overrun,multiplier_ppm,amount,lines,"
    "counter,policy,values,unit,window,bucket_ns,starts_at,ends_at,rule,percent,settled,limit,"
    "quotas";

// Only what callers chose may hold a comma or a quote (RFC 4180).
std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string RowCsv(const Row& row) {
  const auto usd = [](const std::optional<NanoUsd>& amount) {
    return amount ? FormatUsd(*amount) : std::string();
  };
  const auto count = [&](std::int64_t Usage::* member) {
    return row.usage ? std::to_string((*row.usage).*member) : std::string();
  };
  const auto number = [](const std::optional<std::int64_t>& value) {
    return value ? std::to_string(*value) : std::string();
  };
  std::string lines;  // GRANT:AMOUNT;GRANT:AMOUNT
  for (const ledger::HoldLine& held : row.lines) {
    lines +=
        (lines.empty() ? "" : ";") + ToString(held.grant) + ":" + std::to_string(held.amount.n);
  }
  std::string quotas;  // COUNTER:AMOUNT;COUNTER:AMOUNT
  for (const NamedLine& one : row.quotas) {
    quotas += (quotas.empty() ? "" : ";") + std::to_string(one.counter) + ":" +
              std::to_string(one.amount);
  }
  const auto time = [](const std::optional<Instant>& at) {
    return at ? telemetry::FormatInstant(*at) : std::string();
  };
  std::string line = std::to_string(row.position);
  for (const std::string& field :
       {telemetry::FormatInstant(row.time),
        std::string(row.kind),
        row.request ? admin::RequestIdText(*row.request) : std::string(),
        row.key ? admin::KeyIdText(*row.key) : std::string(),
        usd(row.held),
        usd(row.charged),
        usd(row.overrun),
        usd(row.released),
        usd(row.budget_change),
        row.capped ? std::string(*row.capped ? "true" : "false") : std::string(),
        std::string(row.cause),
        row.usage ? std::string(Name(row.usage->source)) : std::string(),
        count(&Usage::input_tokens),
        count(&Usage::cached_input_tokens),
        count(&Usage::cache_write_tokens),
        count(&Usage::output_tokens),
        count(&Usage::reasoning_tokens),
        count(&Usage::audio_ms),
        row.price_version ? std::to_string(*row.price_version) : std::string(),
        row.price_id ? config::Format({*row.price_id}) : std::string(),
        row.wallet ? ToString(*row.wallet) : std::string(),
        row.unit ? std::string(Name(*row.unit)) : std::string(),
        row.grant ? ToString(*row.grant) : std::string(),
        number(row.wallet_held),
        number(row.wallet_charged),
        number(row.wallet_overrun),
        number(row.multiplier_ppm),
        number(row.amount),
        lines,
        row.counter ? std::to_string(*row.counter) : std::string(),
        row.policy,
        row.values,
        std::string(row.quota_unit),
        std::string(row.window),
        number(row.bucket_ns),
        time(row.starts_at),
        time(row.ends_at),
        std::string(row.rule),
        number(row.percent),
        number(row.settled),
        number(row.limit),
        quotas}) {
    line += ',';
    line += CsvField(field);
  }
  return line;
}

// ---- keys -----------------------------------------------------------------------------------

class KeyNames {
 public:
  // A gateway that runs is asked: reading its keys.db could be in the way of a key that it writes.
  KeyNames(const Options& options, bool running) {
    if (running) {
      AskFor(ConnectionOf(options));
      return;
    }
    for (auto& [id, name] : store::ReadKeyNames(options.data_dir + "/keys.db")) {
      by_name_[name] = id;
      by_id_[id] = std::move(name);
    }
  }
  std::string NameOf(const KeyId& id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? "-" : found->second;
  }
  // By id or by name; none is said.
  std::optional<KeyId> Find(const std::string& text) const {
    if (const auto id = admin::ParseKeyId(text)) return id;
    const auto found = by_name_.find(text);
    if (found != by_name_.end()) return found->second;
    PrintError("there is no key " + text + " in keys.db; name it by its id (key_...)");
    return std::nullopt;
  }

 private:
  // What cannot be asked for stays without a name, as it does when keys.db is gone.
  void AskFor(const Connection& connection) {
    std::map<std::string, KeyId> revoked;
    std::string target = "/admin/v1/keys?limit=1000";
    while (true) {
      const auto page = TryAsk(connection, "GET", target);
      const auto* const object = page ? page->if_object() : nullptr;
      const auto* const data = object == nullptr ? nullptr : object->if_contains("data");
      if (data == nullptr || !data->is_array()) break;
      for (const boost::json::value& key : data->get_array()) {
        const auto id = admin::ParseKeyId(Text(key, "id"));
        if (!id) continue;
        by_id_[*id] = Text(key, "name");
        (Text(key, "state") == "revoked" ? revoked : by_name_).emplace(Text(key, "name"), *id);
      }
      const std::string cursor = Text(*page, "next_cursor");
      if (cursor == "-") break;
      target = "/admin/v1/keys?limit=1000&cursor=" + cursor;
    }
    by_name_.merge(revoked);  // one that is in use has its name before one that is not
  }

  std::map<KeyId, std::string> by_id_;
  std::map<std::string, KeyId> by_name_;
};

// ---- verify and anchor ----------------------------------------------------------------------

struct Anchor {
  std::uint64_t position = 0;
  std::string chain;
};

std::optional<Anchor> ReadAnchor(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(4096, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(text, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* position = object == nullptr ? nullptr : object->if_contains("position");
  const auto* chain = object == nullptr ? nullptr : object->if_contains("chain");
  if (position == nullptr || !position->is_int64() || position->get_int64() < 0 ||
      chain == nullptr || !chain->is_string() || chain->get_string().size() != 64) {
    PrintError(file + " is not an anchor; weir ledger anchor prints one");
    return std::nullopt;
  }
  return Anchor{static_cast<std::uint64_t>(position->get_int64()),
                std::string(chain->get_string())};
}

int RunAnchor(const Options& options) {
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  // An anchor of a journal that does not hold would be worth nothing.
  if (!ReadRecords(*journal, [](const auto&, std::uint64_t) { return std::nullopt; })) {
    return kExitFailed;
  }
  const store::JournalTail tail = journal->Tail();
  admin::JsonWriter json;
  json.Open('{')
      .Number("position", static_cast<std::int64_t>(tail.position))
      .Text("chain", Hex(tail.chain))
      .Time("time", WallNow());
  std::printf("%s\n", json.Close('}').Take().c_str());
  return kExitDone;
}

// What is wrong with the journal as the anchor knows it, or nothing.
class AnchorCheck {
 public:
  AnchorCheck(std::optional<Anchor> anchor, store::JournalReader& journal)
      : anchor_(std::move(anchor)) {
    if (!anchor_) return;
    met_ = anchor_->position == 0;
    journal.OnChain([this](std::uint64_t position, std::span<const std::uint8_t, 32> chain) {
      if (position == anchor_->position) {
        met_ = true;
        same_ = Hex(chain) == anchor_->chain;
      }
    });
  }
  AnchorCheck(const AnchorCheck&) = delete;
  AnchorCheck& operator=(const AnchorCheck&) = delete;

  std::optional<std::string> Problem(const store::JournalTail& tail) const {
    if (!anchor_) return std::nullopt;
    const std::string at = std::to_string(anchor_->position);
    if (tail.position < anchor_->position) {
      return "the ledger ends at position " + std::to_string(tail.position) +
             ", before the anchor at " + at + ": its end was cut off, or it is an older copy";
    }
    if (!met_ || !same_) {
      return "the ledger is not the one that the anchor at position " + at +
             " was taken of: what precedes it was rewritten";
    }
    return std::nullopt;
  }

 private:
  std::optional<Anchor> anchor_;
  bool met_ = false;
  bool same_ = true;
};

int RunVerify(const Options& options) {
  std::optional<Anchor> anchor;
  if (!options.anchor.empty() && !(anchor = ReadAnchor(options.anchor))) return kExitFailed;
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  const AnchorCheck anchored(anchor, *journal);
  gateway::LedgerAudit audit;
  gateway::CreditControl machine;
  std::map<std::string_view, std::int64_t> kinds;
  QuotaLines quotas;
  std::optional<std::string> refused;  // the first record that the machine would not replay
  Instant first;
  Instant last;
  const bool read = ReadRecords(
      *journal,
      [&](const ledger::Record& record, std::uint64_t position) -> std::optional<std::string> {
        if (position == 1) first = TimeOf(record);
        last = TimeOf(record);
        ++kinds[RowOf(record, position, quotas).kind];
        audit.See(record);
        // The auditor goes on behind it: one sentence of the machine says less than all findings.
        if (!refused) {
          if (auto problem = machine.Replay(record)) {
            refused = "position " + std::to_string(position) + ": " + *problem;
          }
        }
        return std::nullopt;
      });
  if (!read) return kExitFailed;
  const gateway::CreditTotals totals = machine.Totals();
  if (!refused) {
    audit.Compare(machine);
    audit.Resolve(machine, WallNow());
  }
  const store::JournalTail tail = journal->Tail();
  const auto problem = anchored.Problem(tail);
  const bool good = !refused && !problem && audit.violation_count() == 0;

  if (options.json) {
    admin::JsonWriter json;
    json.Open('{')
        .Flag("good", good)
        .Number("records", static_cast<std::int64_t>(audit.records()))
        .Number("batches", static_cast<std::int64_t>(tail.batches))
        .Text("chain", Hex(tail.chain))
        .Number("requests_open", static_cast<std::int64_t>(totals.requests_open))
        .Usd("held_usd", totals.held)
        .Usd("charged_usd", totals.charged)
        .Usd("overrun_usd", totals.overrun)
        .TextOrNull("anchor_problem", problem.value_or(""))
        .TextOrNull("replay_problem", refused.value_or(""))
        .Number("violation_count", static_cast<std::int64_t>(audit.violation_count()))
        .Open("violations", '[');
    for (const auto& violation : audit.violations()) {
      json.Open('{')
          .Text("invariant", violation.invariant)
          .Number("position", static_cast<std::int64_t>(violation.position))
          .Text("what", violation.what)
          .Close('}');
    }
    std::printf("%s\n", json.Close(']').Close('}').Take().c_str());
    return good ? kExitDone : kExitFailed;
  }

  std::printf("records    %llu in %llu batches", static_cast<unsigned long long>(audit.records()),
              static_cast<unsigned long long>(tail.batches));
  if (audit.records() > 0) {
    std::printf(", %s to %s", telemetry::FormatInstant(first).c_str(),
                telemetry::FormatInstant(last).c_str());
  }
  std::printf("\n          ");
  for (const auto& [kind, count] : kinds) {
    std::printf(" %s=%lld", std::string(kind).c_str(), static_cast<long long>(count));
  }
  std::printf("\nchain      %s\n", Hex(tail.chain).c_str());
  if (anchor) {
    std::printf("anchor     position %llu: %s\n", static_cast<unsigned long long>(anchor->position),
                problem ? "does not hold" : "holds");
  }
  std::printf("charged    %s USD\noverrun    %s USD\nopen       %zu requests hold %s USD%s\n",
              FormatUsd(totals.charged).c_str(), FormatUsd(totals.overrun).c_str(),
              totals.requests_open, FormatUsd(totals.held).c_str(),
              totals.requests_open == 0 ? ""
              : running                 ? "; they run"
                                        : "; the next start resolves them");
  if (problem) PrintError(*problem);
  if (refused) PrintError("the ledger cannot be replayed at " + *refused);
  for (const auto& violation : audit.violations()) {
    PrintError(std::string(violation.invariant) +
               (violation.position > 0 ? " at position " + std::to_string(violation.position)
                                       : std::string()) +
               ": " + violation.what);
  }
  std::printf("%s\n", good
                          ? "good       chain, records, replay and I1-I5, I9-I11, I17-I20, I24, I26"
                          : "bad        see what is said on standard error");
  return good ? kExitDone : kExitFailed;
}

// ---- balance, statement, trial balance, export ----------------------------------------------

// Replays into `machine` until `last` says so; false when it could not, which has been said.
bool Replay(store::JournalReader& journal, gateway::CreditControl& machine,
            const std::function<bool(const ledger::Record&, std::uint64_t)>& see) {
  bool wanted = true;
  return ReadRecords(
      journal,
      [&](const ledger::Record& record, std::uint64_t position) -> std::optional<std::string> {
        wanted = wanted && see(record, position);
        if (!wanted) return std::nullopt;  // read on: the chain is checked to its end
        return machine.Replay(record);
      });
}

std::string Remaining(const gateway::KeyStanding& standing) {
  if (!standing.budget) return "-";
  return FormatUsd(*standing.budget - standing.settled - standing.held);
}

// So much of a unit, as people write it.
std::string AmountText(ledger::Sum amount, ledger::Unit unit) {
  if (unit == ledger::Unit::kNanoUsd) return FormatUsd(ledger::Saturated(amount));
  return std::to_string(ledger::Clipped(amount).n);
}

// Wallets of keys by the key; others, of workspaces, by their id: no record has their name.
void PrintWallets(const Options& options, const KeyNames& names,
                  const gateway::CreditControl& machine, const std::map<KeyId, bool>& keys,
                  const std::optional<KeyId>& wanted, admin::JsonWriter& json) {
  std::map<ledger::WalletId, KeyId> owners;
  for (const auto& [key, seen] : keys) {
    for (const auto unit : {ledger::Unit::kNanoUsd, ledger::Unit::kQuotaToken}) {
      owners[gateway::WalletOfKey(key, unit)] = key;
    }
  }
  const Instant now = WallNow();
  bool first = true;
  for (std::size_t i = 0; i < machine.wallets().size(); ++i) {
    const auto view = machine.ViewWallet(machine.wallets().WalletAt(i), now);
    const auto owner = owners.find(view->id);
    if (wanted && (owner == owners.end() || owner->second != *wanted)) continue;
    if (options.json) {
      json.Open('{').Text("wallet_id", ToString(view->id));
      if (owner != owners.end()) json.Text("key_id", admin::KeyIdText(owner->second));
      json.Text("unit", Name(view->unit))
          .Number("available", view->available.n)
          .Number("held", view->held.n)
          .Number("upcoming", view->upcoming.n)
          .Number("spent", view->spent.n)
          .Open("grants", '[');
      for (const gateway::GrantView& grant : view->grants) {
        json.Open('{')
            .Text("grant_id", ToString(grant.id))
            .Text("category", CategoryName(grant.category))
            .Number("amount", grant.amount.n)
            .Number("remaining", grant.remaining.n)
            .Number("held", grant.held.n)
            .Number("priority", grant.priority)
            .Flag("revoked", grant.revoked);
        if (grant.expires_at != ledger::kNoExpiry) json.Time("expires_at", grant.expires_at);
        json.Close('}');
      }
      json.Close(']').Close('}');
      continue;
    }
    if (std::exchange(first, false)) {
      std::printf("\n%-30s %-12s %16s %16s %16s %16s\n", "WALLET OR GRANT", "UNIT", "AVAILABLE",
                  "HELD", "UPCOMING", "SPENT");
    }
    const auto text = [&](ledger::Amount amount) { return AmountText(amount.n, view->unit); };
    const std::string name = owner == owners.end()                ? ToString(view->id)
                             : names.NameOf(owner->second) == "-" ? admin::KeyIdText(owner->second)
                                                                  : names.NameOf(owner->second);
    std::printf("%-30s %-12s %16s %16s %16s %16s\n", name.c_str(),
                std::string(Name(view->unit)).c_str(), text(view->available).c_str(),
                text(view->held).c_str(), text(view->upcoming).c_str(), text(view->spent).c_str());
    for (const gateway::GrantView& grant : view->grants) {
      std::printf("  %-28s %-12s %16s %16s of %s, until %s\n", ToString(grant.id).c_str(),
                  std::string(CategoryName(grant.category)).c_str(), text(grant.remaining).c_str(),
                  text(grant.held).c_str(), text(grant.amount).c_str(),
                  grant.revoked ? "revoked"
                  : grant.expires_at == ledger::kNoExpiry
                      ? "used"
                      : telemetry::FormatInstant(grant.expires_at).c_str());
    }
  }
}

int RunBalance(const Options& options) {
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  const KeyNames names(options, running);
  std::optional<KeyId> wanted;
  if (!options.key.empty() && !(wanted = names.Find(options.key))) return kExitFailed;
  gateway::CreditControl machine;
  std::map<KeyId, bool> keys;  // ids are in the order of their making
  QuotaLines quotas;
  if (!Replay(*journal, machine, [&](const ledger::Record& record, std::uint64_t position) {
        if (const auto key = RowOf(record, position, quotas).key) keys[*key] = true;
        return true;
      })) {
    return kExitFailed;
  }
  if (wanted && !keys.contains(*wanted)) {
    PrintError("key " + options.key + " has no record: it never asked for anything");
    return kExitFailed;
  }
  admin::JsonWriter json;
  json.Open('[');
  if (!options.json) {
    std::printf("%-30s %-20s %16s %16s %16s %16s %5s\n", "KEY", "NAME", "BUDGET", "SPENT", "HELD",
                "REMAINING", "OPEN");
  }
  for (const auto& [key, seen] : keys) {
    const auto standing = machine.Standing(key);
    if (!standing || (wanted && key != *wanted)) continue;
    if (options.json) {
      json.Open('{')
          .Text("key_id", admin::KeyIdText(key))
          .TextOrNull("name", names.NameOf(key) == "-" ? "" : names.NameOf(key))
          .Usd("budget_usd", standing->budget)
          .Usd("spent_usd", standing->settled)
          .Usd("held_usd", standing->held)
          .Number("requests_open", standing->requests_open)
          .Close('}');
      continue;
    }
    std::printf("%-30s %-20s %16s %16s %16s %16s %5lld\n", admin::KeyIdText(key).c_str(),
                names.NameOf(key).c_str(),
                standing->budget ? FormatUsd(*standing->budget).c_str() : "-",
                FormatUsd(standing->settled).c_str(), FormatUsd(standing->held).c_str(),
                Remaining(*standing).c_str(), static_cast<long long>(standing->requests_open));
  }
  PrintWallets(options, names, machine, keys, wanted, json);
  if (options.json) std::printf("%s\n", json.Close(']').Take().c_str());
  return kExitDone;
}

// A time as the configuration writes it, or a sentence and none.
bool ReadTime(const std::string& text, const char* option, std::optional<Instant>& time) {
  if (text.empty()) return true;
  time = config::ParseTime(text);
  if (time) return true;
  PrintError(std::string(option) +
             " takes a day or a time, such as 2027-01-31 or "
             "2027-01-31T12:00:00Z");
  return false;
}

config::QuotaUnit UnitNamed(std::string_view name) {
  const auto found = std::ranges::find(config::kQuotaUnitNames, name);
  return found == config::kQuotaUnitNames.end()
             ? config::QuotaUnit::kRequests
             : static_cast<config::QuotaUnit>(found - config::kQuotaUnitNames.begin());
}

int RunStatement(const Options& options) {
  std::optional<Instant> since;
  std::optional<Instant> until;
  if (!ReadTime(options.since, "--since", since) || !ReadTime(options.until, "--until", until)) {
    return kExitFailed;
  }
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  const KeyNames names(options, running);
  const auto key = names.Find(options.key);
  if (!key) return kExitFailed;
  if (!options.json) {
    std::printf("%-27s %10s  %-8s %-30s %9s %9s %16s %16s\n", "TIME", "POSITION", "WHAT", "REQUEST",
                "INPUT", "OUTPUT", "AMOUNT", "SPENT");
  }
  NanoUsd spent;
  std::int64_t lines = 0;
  std::map<ledger::WalletId, ledger::Unit> own_wallets;
  for (const auto unit : {ledger::Unit::kNanoUsd, ledger::Unit::kQuotaToken}) {
    own_wallets[gateway::WalletOfKey(*key, unit)] = unit;
  }
  std::map<ledger::GrantId, ledger::Unit> own_grants;
  std::map<RequestId, ledger::Unit> units;  // of the wallets that pay
  QuotaLines quotas;
  std::map<std::pair<std::string, std::string>, bool> own_counters;  // by policy and values
  const bool read = ReadRecords(
      *journal,
      [&](const ledger::Record& record, std::uint64_t position) -> std::optional<std::string> {
        const Row row = RowOf(record, position, quotas);
        const bool of_wallet = row.kind == "grant" || row.kind == "grant_end";
        const bool of_policy = row.kind == "alert" || row.kind == "window";
        if (row.key == *key) {
          for (const NamedLine& line : row.quotas) own_counters[{line.policy, line.values}] = true;
        }
        if (row.kind == "grant" && own_wallets.contains(*row.wallet)) {
          own_grants[*row.grant] = *row.unit;
        }
        const bool own = of_wallet   ? own_grants.contains(*row.grant)
                         : of_policy ? own_counters.contains({row.policy, row.values})
                                     : row.key == *key;
        if (!own) return std::nullopt;
        if (row.kind == "intent" && row.unit) units[*row.request] = *row.unit;
        if (row.charged) spent = spent + *row.charged;
        // Holds and notes on the way say nothing that the end of the request does not.
        if (row.kind == "intent" || row.kind == "checkpoint") return std::nullopt;
        if ((since && row.time < *since) || (until && row.time >= *until)) return std::nullopt;
        ++lines;
        if (options.json) {
          std::printf("%s\n", RowJson(row).c_str());
          return std::nullopt;
        }
        if (of_wallet) {
          const std::string what = row.kind == "grant" ? "grant" : std::string(row.cause);
          std::printf(
              "%-27s %10llu  %-8s %-30s %s %s\n", telemetry::FormatInstant(row.time).c_str(),
              static_cast<unsigned long long>(position), what.c_str(), ToString(*row.grant).c_str(),
              AmountText(*row.amount, own_grants[*row.grant]).c_str(),
              std::string(Name(own_grants[*row.grant])).c_str());
          return std::nullopt;
        }
        if (of_policy) {
          const auto unit = UnitNamed(row.quota_unit);
          std::string what = policy::AmountText(unit, *row.limit);
          if (row.kind == "alert") {
            what = policy::AmountDigits(unit, *row.settled) + " of " + what;
          }
          if (row.ends_at) what += ", until " + telemetry::FormatInstant(*row.ends_at);
          std::printf("%-27s %10llu  %-8s %s%s%s %s\n", telemetry::FormatInstant(row.time).c_str(),
                      static_cast<unsigned long long>(position),
                      row.kind == "window" ? "limit"
                      : row.percent == 0   ? "forecast"
                                           : "alert",
                      row.policy.c_str(), row.values.empty() ? "" : " ", row.values.c_str(),
                      what.c_str());
          return std::nullopt;
        }
        std::string wallet;
        if (row.wallet_charged) {
          const ledger::Unit unit = units[*row.request];
          wallet =
              "  wallet " + AmountText(*row.wallet_charged, unit) + " " + std::string(Name(unit));
        }
        for (const NamedLine& line : row.quotas) {
          if (line.amount == 0) continue;
          wallet += "  " + line.policy + " " + policy::AmountText(line.unit, line.amount);
        }
        const NanoUsd amount = row.charged.value_or(row.budget_change.value_or(NanoUsd{}));
        std::printf("%-27s %10llu  %-8s %-30s %9lld %9lld %16s %16s%s\n",
                    telemetry::FormatInstant(row.time).c_str(),
                    static_cast<unsigned long long>(position),
                    row.kind == "fund"     ? "budget"
                    : row.kind == "settle" ? "charge"
                                           : "release",
                    row.request ? admin::RequestIdText(*row.request).c_str() : "-",
                    static_cast<long long>(row.usage ? row.usage->input_tokens : 0),
                    static_cast<long long>(row.usage ? row.usage->output_tokens : 0),
                    FormatUsd(amount).c_str(), FormatUsd(spent).c_str(), wallet.c_str());
        return std::nullopt;
      });
  if (!read) return kExitFailed;
  if (!options.json) {
    std::printf("%lld lines; spent in all %s USD\n", static_cast<long long>(lines),
                FormatUsd(spent).c_str());
  }
  return kExitDone;
}

std::string_view KindName(ledger::AccountKind kind) {
  switch (kind) {
    case ledger::AccountKind::kKey:
      return "key";
    case ledger::AccountKind::kSource:
      return "operator:source";
    case ledger::AccountKind::kRevenue:
      return "operator:revenue";
    case ledger::AccountKind::kOverrun:
      return "operator:overrun";
    case ledger::AccountKind::kGrant:
      return "grant";
    case ledger::AccountKind::kBreakage:
      return "operator:breakage";
  }
  return "other";
}

int RunTrialBalance(const Options& options) {
  std::optional<std::uint64_t> position_max;
  std::optional<Instant> time_max;
  if (const auto position = config::ParseCount(options.at); position && *position >= 0) {
    position_max = static_cast<std::uint64_t>(*position);
  } else if (!ReadTime(options.at, "--at", time_max)) {
    return kExitFailed;
  }
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  const KeyNames names(options, running);
  gateway::CreditControl machine;
  if (!Replay(*journal, machine, [&](const ledger::Record& record, std::uint64_t position) {
        return (!position_max || position <= *position_max) &&
               (!time_max || TimeOf(record) <= *time_max);
      })) {
    return kExitFailed;
  }
  const ledger::Book& book = machine.book();
  std::map<ledger::Unit, ledger::Account> sums;
  admin::JsonWriter json;
  json.Open('{')
      .Number("position", static_cast<std::int64_t>(machine.last_position().n))
      .Open("accounts", '[');
  const auto usd = [](ledger::Sum amount) { return ledger::Saturated(amount); };
  const auto print = [&](const std::string& name, const ledger::Account& account) {
    const auto text = [&](ledger::Sum amount) { return AmountText(amount, account.id.unit); };
    std::printf("%-50s %16s %16s %16s %16s %s\n", name.c_str(),
                text(account.debits_pending).c_str(), text(account.debits_posted).c_str(),
                text(account.credits_pending).c_str(), text(account.credits_posted).c_str(),
                account.id.unit == ledger::Unit::kNanoUsd
                    ? "USD"
                    : std::string(Name(account.id.unit)).c_str());
  };
  if (!options.json) {
    std::printf("at position %llu\n%-50s %16s %16s %16s %16s %s\n",
                static_cast<unsigned long long>(machine.last_position().n), "ACCOUNT",
                "DEBITS PENDING", "DEBITS POSTED", "CREDITS PENDING", "CREDITS POSTED", "UNIT");
  }
  for (std::size_t i = 0; i < book.account_count(); ++i) {
    const ledger::Account& account = book.Get({static_cast<std::uint32_t>(i)});
    const ledger::Unit unit = account.id.unit;
    ledger::Account& sum = sums[unit];
    sum.id.unit = unit;
    sum.debits_pending += account.debits_pending;
    sum.debits_posted += account.debits_posted;
    sum.credits_pending += account.credits_pending;
    sum.credits_posted += account.credits_posted;
    std::string name(KindName(account.id.kind));
    if (account.id.kind == ledger::AccountKind::kKey) {
      const KeyId id{account.id.owner};
      name += ":" + admin::KeyIdText(id);
      if (names.NameOf(id) != "-") name += " " + names.NameOf(id);
    } else if (account.id.kind == ledger::AccountKind::kGrant) {
      name += ":" + ToString(account.id.owner);
    }
    if (!options.json) {
      print(name, account);
      continue;
    }
    json.Open('{').Text("account", name).Text("unit", Name(unit));
    if (unit == ledger::Unit::kNanoUsd) {
      json.Usd("debits_pending_usd", usd(account.debits_pending))
          .Usd("debits_posted_usd", usd(account.debits_posted))
          .Usd("credits_pending_usd", usd(account.credits_pending))
          .Usd("credits_posted_usd", usd(account.credits_posted));
    } else {
      json.Number("debits_pending", ledger::Clipped(account.debits_pending).n)
          .Number("debits_posted", ledger::Clipped(account.debits_posted).n)
          .Number("credits_pending", ledger::Clipped(account.credits_pending).n)
          .Number("credits_posted", ledger::Clipped(account.credits_posted).n);
    }
    json.Close('}');
  }
  const bool even = std::ranges::all_of(sums, [](const auto& entry) {
    const ledger::Account& sum = entry.second;
    return sum.debits_pending == sum.credits_pending && sum.debits_posted == sum.credits_posted;
  });
  if (options.json) {
    std::printf("%s\n", json.Close(']').Flag("balanced", even).Close('}').Take().c_str());
  } else {
    for (const auto& [unit, sum] : sums) print("all", sum);
    std::printf("%s\n", even ? "debits and credits are equal" : "debits and credits differ");
  }
  return even ? kExitDone : kExitFailed;
}

int RunExport(const Options& options) {
  const auto [journal, running] = OpenBooks(options);
  if (journal == nullptr) return kExitFailed;
  const bool csv = options.format == "csv";
  if (csv) std::printf("%s\n", kCsvHead);
  QuotaLines quotas;
  const bool read = ReadRecords(
      *journal,
      [&](const ledger::Record& record, std::uint64_t position) -> std::optional<std::string> {
        const Row row = RowOf(record, position, quotas);
        const std::string line = csv ? RowCsv(row) : RowJson(row);
        std::fwrite(line.data(), 1, line.size(), stdout);
        std::fputc('\n', stdout);
        return std::nullopt;
      });
  return read && std::fflush(stdout) == 0 ? kExitDone : kExitFailed;
}

}  // namespace

void AddLedger(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* ledger =
      app.add_subcommand("ledger", "Check and read the books of a gateway, stopped or running");
  ledger->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, int (*run)(const Options&)) {
    CLI::App* command = ledger->add_subcommand(name, help);
    command->add_option("--data-dir", options->data_dir, "The data directory of weir serve")
        ->type_name("DIR")
        ->envname("WEIR_DATA_DIR")
        ->capture_default_str();
    command->callback([options, run, &exit_code] { exit_code = run(*options); });
    return command;
  };
  const auto json = [&](CLI::App* command, const char* help) {
    command->add_flag("--json", options->json, help);
  };

  CLI::App* verify = add("verify", "Check chain, records, replay and invariants", RunVerify);
  verify->add_option("--anchor", options->anchor, "Compare with what `ledger anchor` once printed")
      ->type_name("FILE");
  json(verify, "Print one JSON object");

  add("anchor", "Print where the ledger ends, to be kept elsewhere", RunAnchor);

  CLI::App* balance = add("balance", "What keys have spent and may still spend", RunBalance);
  balance->add_option("key", options->key, "Its id or name (default: all)")->type_name("KEY");
  json(balance, "Print one JSON list");

  CLI::App* statement = add("statement", "What a key was charged for, line by line", RunStatement);
  statement->add_option("key", options->key, "Its id or name")->type_name("KEY")->required();
  statement->add_option("--since", options->since, "From this day or time on")->type_name("TIME");
  statement->add_option("--until", options->until, "Before this day or time")->type_name("TIME");
  json(statement, "Print one JSON object a line");

  CLI::App* trial = add("trial-balance", "Every account with its four balances", RunTrialBalance);
  trial->add_option("--at", options->at, "As of the record at this position, or of this time")
      ->type_name("POSITION|TIME");
  json(trial, "Print one JSON object");

  CLI::App* records = add("export", "Every record of the journal, in order", RunExport);
  records->add_option("--format", options->format, "Of the lines")
      ->check(CLI::IsMember({"jsonl", "csv"}))
      ->capture_default_str();
}

}  // namespace weir::cli
