// `weir wallets list|show|grant|revoke` and `weir codes create|list|revoke`: what is prepaid, and
// the codes that packs are sold as, from a shell.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

struct Options : Connection {
  std::string owner;
  std::string id;  // of a grant, a code or a batch
  std::int64_t amount = 0;
  std::string category;
  std::int64_t priority = 0;
  std::string effective_at;
  std::string expires_at;
  std::string idempotency_key;
  std::string unit;
  std::int64_t count = 1;
  std::string valid_for;
  std::string redeem_by;
  std::string batch;
  std::int64_t limit = 50;
  std::string cursor;
};

// What goes into a path as it is.
bool IsPlain(const std::string& text) {
  return !text.empty() && text.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "._:-") == std::string::npos;
}

// "key:ID" and "workspace:NAME" as they are; anything else is a key's name. Prints what is wrong.
std::optional<std::string> Owner(const Options& options) {
  if (!IsPlain(options.owner)) {
    PrintError("an owner is key:ID, workspace:NAME or the name of a key");
    return std::nullopt;
  }
  if (options.owner.starts_with("key:") || options.owner.starts_with("workspace:")) {
    return options.owner;
  }
  if (options.owner.starts_with("key_")) return "key:" + options.owner;
  const auto found = Ask(options, "GET", "/admin/v1/keys?limit=1000&name=" + options.owner);
  if (!found) return std::nullopt;
  const auto* object = found->if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  if (data != nullptr && data->is_array()) {
    for (const json::value& key : data->get_array()) {
      if (Text(key, "state") != "revoked") return "key:" + Text(key, "id");
    }
  }
  PrintError("there is no key named " + options.owner + "; `weir keys list` shows them");
  return std::nullopt;
}

void PrintJson(const json::value& value) { std::printf("%s\n", json::serialize(value).c_str()); }

const json::array* Data(const json::value& page, std::string_view name = "data") {
  const auto* object = page.if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains(name);
  return data == nullptr ? nullptr : data->if_array();
}

void PrintMore(const json::value& page) {
  if (Text(page, "next_cursor") != "-") {
    std::printf("more: --cursor %s\n", Text(page, "next_cursor").c_str());
  }
}

std::string Page(const Options& options) {
  std::string query = "?limit=" + std::to_string(options.limit);
  if (!options.cursor.empty()) query += "&cursor=" + options.cursor;
  return query;
}

int ListWallets(const Options& options) {
  const auto page = Ask(options, "GET", "/admin/v1/wallets" + Page(options));
  if (!page) return kExitFailed;
  if (options.json) {
    PrintJson(*page);
    return kExitDone;
  }
  const auto* data = Data(*page);
  if (data == nullptr) return kExitFailed;
  std::printf("%-36s  %-16s  %-11s  %16s  %12s  %16s  %s\n", "OWNER", "NAME", "UNIT", "AVAILABLE",
              "HELD", "SPENT", "LOW");
  for (const json::value& wallet : *data) {
    std::printf("%-36s  %-16s  %-11s  %16s  %12s  %16s  %s\n", Text(wallet, "owner").c_str(),
                Text(wallet, "name").c_str(), Text(wallet, "unit").c_str(),
                Text(wallet, "available").c_str(), Text(wallet, "held").c_str(),
                Text(wallet, "spent").c_str(), Text(wallet, "low") == "true" ? "low" : "");
  }
  PrintMore(*page);
  return kExitDone;
}

int ShowWallet(const Options& options) {
  const auto owner = Owner(options);
  if (!owner) return kExitFailed;
  const auto wallet = Ask(options, "GET", "/admin/v1/wallets/" + *owner);
  if (!wallet) return kExitFailed;
  if (options.json) {
    PrintJson(*wallet);
    return kExitDone;
  }
  for (const char* member : {"owner", "name", "unit", "available", "held", "upcoming", "spent"}) {
    std::printf("%-10s %s\n", member, Text(*wallet, member).c_str());
  }
  const auto* grants = Data(*wallet, "grants");
  if (grants == nullptr || grants->empty()) return kExitDone;
  std::printf("\n%-32s  %-8s  %8s  %16s  %16s  %s\n", "GRANT, THE NEXT TO BURN FIRST", "CATEGORY",
              "PRIORITY", "AMOUNT", "REMAINING", "EXPIRES");
  for (const json::value& grant : *grants) {
    std::printf("%-32s  %-8s  %8s  %16s  %16s  %s\n", Text(grant, "id").c_str(),
                Text(grant, "category").c_str(), Text(grant, "priority").c_str(),
                Text(grant, "amount").c_str(), Text(grant, "remaining").c_str(),
                Text(grant, "expires_at").c_str());
  }
  return kExitDone;
}

// What a grant and a code have in common.
json::object Terms(const Options& options) {
  json::object body;
  body["amount"] = options.amount;
  if (!options.category.empty()) body["category"] = options.category;
  if (options.priority != 0) body["priority"] = options.priority;
  if (!options.expires_at.empty()) body["expires_at"] = options.expires_at;
  return body;
}

int Grant(const Options& options) {
  const auto owner = Owner(options);
  if (!owner) return kExitFailed;
  json::object body = Terms(options);
  if (!options.effective_at.empty()) body["effective_at"] = options.effective_at;
  const std::string& key = options.idempotency_key;
  if (key.find_first_of("\r\n") != std::string::npos) {
    PrintError("--idempotency-key takes visible ASCII characters");
    return kExitUsage;
  }
  const auto grant =
      Ask(options, "POST", "/admin/v1/wallets/" + *owner + "/grants", json::serialize(body),
          key.empty() ? std::string() : "idempotency-key: " + key + "\r\n");
  if (!grant) return kExitFailed;
  if (options.json) {
    PrintJson(*grant);
  } else {
    std::printf("%s: %s %s for %s\n", Text(*grant, "id").c_str(), Text(*grant, "amount").c_str(),
                Text(*grant, "unit").c_str(), Text(*grant, "owner").c_str());
  }
  return kExitDone;
}

int RevokeGrant(const Options& options) {
  const auto revoked = Ask(options, "DELETE", "/admin/v1/grants/" + options.id);
  if (!revoked) return kExitFailed;
  if (options.json) {
    PrintJson(*revoked);
  } else {
    std::printf("%s is revoked: %s %s taken back, %s held by requests\n",
                Text(*revoked, "id").c_str(), Text(*revoked, "removed").c_str(),
                Text(*revoked, "unit").c_str(), Text(*revoked, "held").c_str());
  }
  return kExitDone;
}

int CreateCodes(const Options& options) {
  json::object body = Terms(options);
  body["count"] = options.count;
  if (!options.unit.empty()) body["unit"] = options.unit;
  if (!options.valid_for.empty()) body["valid_for"] = options.valid_for;
  if (!options.redeem_by.empty()) body["redeem_by"] = options.redeem_by;
  const auto made = Ask(options, "POST", "/admin/v1/codes", json::serialize(body));
  if (!made) return kExitFailed;
  if (options.json) {
    PrintJson(*made);
    return kExitDone;
  }
  const auto* codes = Data(*made, "codes");
  if (codes == nullptr) return kExitFailed;
  for (const json::value& code : *codes) std::printf("%s\n", Text(code, "code").c_str());
  std::fprintf(stderr, "%s: %s %s each. The codes are not shown again.\n",
               Text(*made, "batch").c_str(), Text(*made, "amount").c_str(),
               Text(*made, "unit").c_str());
  return kExitDone;
}

int ListCodes(const Options& options) {
  std::string target = "/admin/v1/codes" + Page(options);
  if (!options.batch.empty()) target += "&batch=" + options.batch;
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    PrintJson(*page);
    return kExitDone;
  }
  const auto* data = Data(*page);
  if (data == nullptr) return kExitFailed;
  std::printf("%-31s  %-7s  %-8s  %-11s  %16s  %-20s  %s\n", "ID", "CODE", "STATE", "UNIT",
              "AMOUNT", "REDEEM BY", "REDEEMED BY");
  for (const json::value& code : *data) {
    std::printf("%-31s  %-7s  %-8s  %-11s  %16s  %-20s  %s\n", Text(code, "id").c_str(),
                Text(code, "display").c_str(), Text(code, "state").c_str(),
                Text(code, "unit").c_str(), Text(code, "amount").c_str(),
                Text(code, "redeem_by").c_str(), Text(code, "redeemed_by").c_str());
  }
  PrintMore(*page);
  return kExitDone;
}

int RevokeCodes(const Options& options) {
  const auto revoked = Ask(options, "DELETE", "/admin/v1/codes/" + options.id);
  if (!revoked) return kExitFailed;
  if (options.json) {
    PrintJson(*revoked);
  } else {
    std::printf("%s: %s codes are worth nothing now\n", Text(*revoked, "id").c_str(),
                Text(*revoked, "revoked").c_str());
  }
  return kExitDone;
}

CLI::Validator Plain(std::string_view what) {
  return {[](std::string& text) {
            return text.find_first_not_of(
                       "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._:-") ==
                           std::string::npos
                       ? std::string()
                       : std::string("letters, digits and . _ : - only");
          },
          std::string(what)};
}

void AddTerms(CLI::App& command, Options& options) {
  command.add_option("--amount", options.amount, "Quota tokens, or millionths of a USD")
      ->check(CLI::PositiveNumber)
      ->required();
  command.add_option("--category", options.category, "What it is given for (default: paid)")
      ->check(CLI::IsMember({"paid", "promo", "plan"}));
  command.add_option("--priority", options.priority, "Lower ones burn first")
      ->check(CLI::Range(-1'000'000, 1'000'000))
      ->capture_default_str();
  command.add_option("--expires-at", options.expires_at, "Such as 2027-01-31T12:00:00Z")
      ->type_name("TIME");
}

void AddPage(CLI::App& command, Options& options) {
  command.add_option("--limit", options.limit, "Entries on a page")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--cursor", options.cursor, "Where the page before ended")
      ->check(Plain("CURSOR"));
}

}  // namespace

void AddWallets(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* wallets = app.add_subcommand("wallets", "Show, fill and empty prepaid wallets");
  wallets->require_subcommand(1);

  CLI::App* list = wallets->add_subcommand("list", "List the wallets of keys and workspaces");
  AddPage(*list, *options);
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = ListWallets(*options); });

  CLI::App* show = wallets->add_subcommand("show", "Show a wallet and its grants");
  show->add_option("owner", options->owner, "key:ID, workspace:NAME, or the name of a key")
      ->type_name("OWNER")
      ->required();
  AddConnection(*show, *options);
  show->callback([options, &exit_code] { exit_code = ShowWallet(*options); });

  CLI::App* grant = wallets->add_subcommand("grant", "Give a wallet something");
  grant->add_option("owner", options->owner, "key:ID, workspace:NAME, or the name of a key")
      ->type_name("OWNER")
      ->required();
  AddTerms(*grant, *options);
  grant->add_option("--effective-at", options->effective_at, "From when it can be used")
      ->type_name("TIME");
  grant
      ->add_option("--idempotency-key", options->idempotency_key,
                   "With the same key the same grant is given once, however often this runs")
      ->type_name("KEY");
  AddConnection(*grant, *options);
  grant->callback([options, &exit_code] { exit_code = Grant(*options); });

  CLI::App* revoke = wallets->add_subcommand("revoke", "Take back what is left of a grant");
  revoke->add_option("grant", options->id, "Its id, grant_...")
      ->type_name("GRANT")
      ->check(Plain("GRANT"))
      ->required();
  AddConnection(*revoke, *options);
  revoke->callback([options, &exit_code] { exit_code = RevokeGrant(*options); });
}

void AddCodes(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* codes = app.add_subcommand("codes", "Make, list and revoke redeem codes");
  codes->require_subcommand(1);

  CLI::App* create = codes->add_subcommand("create", "Make codes and print them, once");
  AddTerms(*create, *options);
  create->add_option("--count", options->count, "How many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  create
      ->add_option("--unit", options->unit,
                   "Of the wallets they are for (default: the one kind that the file has)")
      ->check(CLI::IsMember({"quota_token", "usd"}));
  create
      ->add_option("--valid-for", options->valid_for,
                   "How long the grant lasts from the redemption on, such as 365d")
      ->type_name("DURATION");
  create->add_option("--redeem-by", options->redeem_by, "When the codes stop being valid")
      ->type_name("TIME");
  AddConnection(*create, *options);
  create->callback([options, &exit_code] { exit_code = CreateCodes(*options); });

  CLI::App* list = codes->add_subcommand("list", "List codes, newest first");
  list->add_option("--batch", options->batch, "Only those that were made together")
      ->check(Plain("BATCH"));
  AddPage(*list, *options);
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = ListCodes(*options); });

  CLI::App* revoke =
      codes->add_subcommand("revoke", "Make codes that nobody redeemed worth nothing");
  revoke->add_option("id", options->id, "Of a code (code_...) or a batch (batch_...)")
      ->type_name("ID")
      ->check(Plain("ID"))
      ->required();
  AddConnection(*revoke, *options);
  revoke->callback([options, &exit_code] { exit_code = RevokeCodes(*options); });
}

}  // namespace weir::cli
