// `weir keys create|list|revoke|rotate`: the admin API from a shell.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

struct Options : Connection {
  // create
  std::string name;
  std::string environment;
  std::vector<std::string> permissions;
  std::vector<std::string> models;
  std::string expires_at;
  std::string workspace;
  std::string package;
  bool codex_adaptation = false;
  std::vector<std::string> payload_rules;  // PATH=JSON
  bool no_downgrade = false;
  std::vector<std::string> attributes;  // DIMENSION=VALUE
  std::vector<std::string> metadata;
  std::int64_t requests_per_minute = -1;
  std::int64_t tokens_per_minute = -1;
  std::int64_t concurrent_requests = -1;
  std::string budget_usd;
  // list
  std::string state;
  std::int64_t limit = 50;
  std::string cursor;
  // revoke, rotate
  std::string key;
  std::int64_t overlap_seconds = 0;
};

// A key is named by its id or by its name. Prints what is wrong.
std::optional<std::string> KeyId(const Options& options) {
  std::string bare = options.key;
  if (bare.starts_with("key_")) bare.erase(0, 4);
  if (bare.size() == 26 &&
      bare.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ") == std::string::npos) {
    return "key_" + bare;
  }
  if (options.key.empty() ||
      options.key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "._-") != std::string::npos) {
    PrintError("there is no such key; use an id or a name that `weir keys list` shows");
    return std::nullopt;
  }
  const auto found = Ask(options, "GET", "/admin/v1/keys?limit=1000&name=" + options.key);
  if (!found) return std::nullopt;
  const auto* object = found->if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  if (data != nullptr && data->is_array()) {
    for (const json::value& key : data->get_array()) {
      if (Text(key, "state") != "revoked") return Text(key, "id");
    }
  }
  PrintError("there is no key named " + options.key + "; `weir keys list` shows them");
  return std::nullopt;
}

void PrintSecret(const Options& options, const json::value& made) {
  if (options.json) {
    std::printf("%s\n", json::serialize(made).c_str());
    return;
  }
  const auto* key = made.is_object() ? made.get_object().if_contains("key") : nullptr;
  std::printf("id      %s\nname    %s\nsecret  %s\n\nThe secret is not shown again.\n",
              key == nullptr ? "-" : Text(*key, "id").c_str(),
              key == nullptr ? "-" : Text(*key, "name").c_str(), Text(made, "secret").c_str());
}

// [{"path": ..., "value": ...}] of PATH=JSON texts. Prints what is wrong.
std::optional<json::array> PayloadRules(const std::vector<std::string>& texts) {
  json::array rules;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    boost::system::error_code error;
    json::value value;
    if (equals != std::string::npos) value = json::parse(text.substr(equals + 1), error);
    if (equals == std::string::npos || error) {
      PrintError(
          "--payload-rule " + text +
          " is not PATH=JSON; write reasoning.effort='\"low\"', with the quotes of the JSON");
      return std::nullopt;
    }
    rules.push_back(json::object{{"path", text.substr(0, equals)}, {"value", value}});
  }
  return rules;
}

// {"team": "growth"} of DIMENSION=VALUE texts. Prints what is wrong.
std::optional<json::object> Attributes(const std::vector<std::string>& texts) {
  json::object attributes;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      PrintError("--attribute " + text + " is not DIMENSION=VALUE; write team=growth");
      return std::nullopt;
    }
    if (!attributes.emplace(text.substr(0, equals), text.substr(equals + 1)).second) {
      PrintError("--attribute " + text.substr(0, equals) +
                 " is given twice; a key has one of each");
      return std::nullopt;
    }
  }
  return attributes;
}

int Create(const Options& options) {
  json::object body;
  body["name"] = options.name;
  if (!options.environment.empty()) body["environment"] = options.environment;
  if (!options.permissions.empty()) body["permissions"] = Texts(options.permissions);
  if (!options.models.empty()) body["models"] = Texts(options.models);
  if (!options.expires_at.empty()) body["expires_at"] = options.expires_at;
  if (!options.workspace.empty()) body["workspace"] = options.workspace;
  if (!options.package.empty()) body["package"] = options.package;
  if (options.codex_adaptation) body["codex_adaptation"] = true;
  if (!options.payload_rules.empty()) {
    auto rules = PayloadRules(options.payload_rules);
    if (!rules) return kExitFailed;
    body["payload_rules"] = *std::move(rules);
  }
  if (options.no_downgrade) body["allow_downgrade"] = false;
  if (!options.attributes.empty()) {
    auto attributes = Attributes(options.attributes);
    if (!attributes) return kExitFailed;
    body["attributes"] = *std::move(attributes);
  }
  if (!options.metadata.empty()) body["metadata"] = Texts(options.metadata);
  json::object limits;
  if (options.requests_per_minute >= 0) limits["requests_per_minute"] = options.requests_per_minute;
  if (options.tokens_per_minute >= 0) limits["tokens_per_minute"] = options.tokens_per_minute;
  if (options.concurrent_requests >= 0) limits["concurrent_requests"] = options.concurrent_requests;
  if (options.budget_usd == "none") {
    limits["budget_usd"] = nullptr;
  } else if (!options.budget_usd.empty()) {
    limits["budget_usd"] = options.budget_usd;
  }
  if (!limits.empty()) body["limits"] = limits;
  const auto made = Ask(options, "POST", "/admin/v1/keys", json::serialize(body));
  if (!made) return kExitFailed;
  PrintSecret(options, *made);
  return kExitDone;
}

int List(const Options& options) {
  std::string target = "/admin/v1/keys?limit=" + std::to_string(options.limit);
  if (!options.state.empty()) target += "&state=" + options.state;
  if (!options.cursor.empty()) target += "&cursor=" + options.cursor;
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*page).c_str());
    return kExitDone;
  }
  const auto* object = page->if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  if (data == nullptr || !data->is_array()) return kExitFailed;
  std::printf("%-30s  %-20s  %-8s  %-12s  %10s  %12s\n", "ID", "NAME", "STATE", "KEY", "REQ/MIN",
              "BUDGET USD");
  for (const json::value& key : data->get_array()) {
    const auto* limits = key.is_object() ? key.get_object().if_contains("limits") : nullptr;
    const json::value none;
    const json::value& shown = limits == nullptr ? none : *limits;
    std::printf("%-30s  %-20s  %-8s  %-12s  %10s  %12s\n", Text(key, "id").c_str(),
                Text(key, "name").c_str(), Text(key, "state").c_str(), Text(key, "display").c_str(),
                Text(shown, "requests_per_minute").c_str(), Text(shown, "budget_usd").c_str());
  }
  if (Text(*page, "next_cursor") != "-") {
    std::printf("more: --cursor %s\n", Text(*page, "next_cursor").c_str());
  }
  return kExitDone;
}

int Revoke(const Options& options) {
  const auto id = KeyId(options);
  if (!id) return kExitFailed;
  const auto key = Ask(options, "DELETE", "/admin/v1/keys/" + *id);
  if (!key) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*key).c_str());
  } else {
    std::printf("%s (%s) is revoked\n", Text(*key, "name").c_str(), Text(*key, "id").c_str());
  }
  return kExitDone;
}

int Rotate(const Options& options) {
  const auto id = KeyId(options);
  if (!id) return kExitFailed;
  const json::object body = {{"overlap_seconds", options.overlap_seconds}};
  const auto made =
      Ask(options, "POST", "/admin/v1/keys/" + *id + "/rotate", json::serialize(body));
  if (!made) return kExitFailed;
  PrintSecret(options, *made);
  return kExitDone;
}

}  // namespace

void AddKeys(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* keys = app.add_subcommand("keys", "Make, list, revoke and rotate API keys");
  keys->require_subcommand(1);

  CLI::App* create = keys->add_subcommand("create", "Make a key and print its secret, once");
  create->add_option("--name", options->name, "Unique among the keys in use")
      ->type_name("NAME")
      ->required();
  create->add_option("--environment", options->environment, "Where it is valid")->type_name("NAME");
  create->add_option("--permission", options->permissions, "What it may use (default: openai)")
      ->type_name("NAME");
  create->add_option("--model", options->models, "A model it may use (default: all)")
      ->type_name("MODEL");
  create->add_option("--expires-at", options->expires_at, "Such as 2027-01-31T12:00:00Z")
      ->type_name("TIME");
  create->add_option("--workspace", options->workspace, "Whose it is")->type_name("NAME");
  create->add_option("--package", options->package, "What pools it has (default: its workspace's)")
      ->type_name("NAME");
  create->add_flag("--codex-adaptation", options->codex_adaptation,
                   "Put its requests into the form a Codex-style backend takes");
  create
      ->add_option("--payload-rule", options->payload_rules,
                   "What is set in its requests where they are adapted, such as "
                   "'reasoning.effort=\"low\"'; in the order given")
      ->type_name("PATH=JSON");
  create->add_flag("--no-downgrade", options->no_downgrade,
                   "Never serve it by a lesser model under pressure");
  create
      ->add_option("--attribute", options->attributes,
                   "What policies tell its requests apart by, such as team=growth; each once")
      ->type_name("DIMENSION=VALUE");
  create
      ->add_option("--metadata", options->metadata,
                   "What its requests may say of themselves in a header, such as user")
      ->type_name("DIMENSION");
  create->add_option("--requests-per-minute", options->requests_per_minute, "0 is no limit")
      ->check(CLI::NonNegativeNumber);
  create->add_option("--tokens-per-minute", options->tokens_per_minute, "0 is no limit")
      ->check(CLI::NonNegativeNumber);
  create->add_option("--concurrent-requests", options->concurrent_requests, "0 is no limit")
      ->check(CLI::NonNegativeNumber);
  create
      ->add_option("--budget", options->budget_usd,
                   "US dollars it may spend in its life, such as 12.50, or none")
      ->type_name("USD");
  AddConnection(*create, *options);
  create->callback([options, &exit_code] { exit_code = Create(*options); });

  CLI::App* list = keys->add_subcommand("list", "List keys, newest first");
  list->add_option("--state", options->state, "Only keys in this state")
      ->check(CLI::IsMember({"active", "disabled", "expired", "revoked"}));
  list->add_option("--limit", options->limit, "Keys on a page")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  list->add_option("--cursor", options->cursor, "Where the page before ended")
      ->check(CLI::Validator(
          [](std::string& text) {
            return text.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZkey_") ==
                           std::string::npos
                       ? std::string()
                       : std::string("use the cursor that the page before printed");
          },
          "CURSOR"));
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = List(*options); });

  CLI::App* revoke = keys->add_subcommand("revoke", "Revoke a key, for good");
  revoke->add_option("key", options->key, "Its id or name")->type_name("KEY")->required();
  AddConnection(*revoke, *options);
  revoke->callback([options, &exit_code] { exit_code = Revoke(*options); });

  CLI::App* rotate = keys->add_subcommand("rotate", "Give a key a new secret and print it, once");
  rotate->add_option("key", options->key, "Its id or name")->type_name("KEY")->required();
  rotate
      ->add_option("--overlap-seconds", options->overlap_seconds,
                   "How long the old secret goes on working")
      ->check(CLI::Range(0, 2592000))
      ->capture_default_str();
  AddConnection(*rotate, *options);
  rotate->callback([options, &exit_code] { exit_code = Rotate(*options); });
}

}  // namespace weir::cli
