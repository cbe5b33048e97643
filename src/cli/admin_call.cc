#include "cli/admin_call.h"

#include <CLI/CLI.hpp>
#include <fstream>
#include <utility>

#include "admin/token.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

// Where the API is and what opens it: the command line, then the environment, then what a running
// `weir serve` left in the data directory.
Result<AdminClient> Connect(const Connection& connection) {
  std::string url = connection.admin_url;
  if (url.empty()) {
    std::ifstream in(connection.data_dir + "/admin-url");
    std::getline(in, url);
  }
  if (url.empty()) url = "http://127.0.0.1:8081";
  if (!connection.token.empty()) return AdminClient::Make(url, Secret(connection.token));
  auto token = admin::LoadToken(connection.data_dir);
  if (!token) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                token.error().detail +
                    "; name the data directory of weir serve with --data-dir, or set "
                    "WEIR_ADMIN_TOKEN");
  }
  return AdminClient::Make(url, std::move(*token));
}

// A problem of the API in one line: "the detail (name: must ...)".
std::string ProblemText(const AdminReply& reply, const json::value& body) {
  const auto* object = body.if_object();
  if (object == nullptr || !object->contains("detail")) {
    return "the admin listener answered with status " + std::to_string(reply.status);
  }
  std::string text = Text(body, "detail");
  if (const auto* errors = object->if_contains("errors"); errors != nullptr && errors->is_array()) {
    for (const json::value& error : errors->get_array()) {
      const bool pointer = error.is_object() && error.get_object().contains("pointer");
      text += "\n  " + Text(error, pointer ? "pointer" : "parameter") + " " + Text(error, "detail");
    }
  }
  return text;
}

}  // namespace

std::string Text(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  const auto* member = object == nullptr ? nullptr : object->if_contains(name);
  if (member == nullptr || member->is_null()) return "-";
  if (member->is_string()) return std::string(member->get_string());
  return json::serialize(*member);
}

json::array Texts(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

Result<json::value> TryAsk(const Connection& connection, std::string_view method,
                           const std::string& target, const std::string& body,
                           const std::string& headers) {
  const auto client = Connect(connection);
  if (!client) return std::unexpected(client.error());
  const auto reply = client->Send(method, target, body, headers);
  if (!reply) return std::unexpected(reply.error());
  json::error_code error;
  json::value value = json::parse(reply->body, error);
  if (error) value = nullptr;
  if (reply->status >= 300 || error) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment, ProblemText(*reply, value));
  }
  return value;
}

std::optional<json::value> Ask(const Connection& connection, std::string_view method,
                               const std::string& target, const std::string& body,
                               const std::string& headers) {
  auto value = TryAsk(connection, method, target, body, headers);
  if (value) return std::move(*value);
  PrintError(value.error().detail);
  return std::nullopt;
}

void AddConnection(CLI::App& command, Connection& connection) {
  command
      .add_option("--admin-url", connection.admin_url,
                  "Admin listener (default: the one data_dir names, then http://127.0.0.1:8081)")
      ->envname("WEIR_ADMIN_URL")
      ->type_name("URL");
  command
      .add_option("--token", connection.token,
                  "Admin token (default: the one in data_dir; others can read a command line)")
      ->envname("WEIR_ADMIN_TOKEN")
      ->type_name("TOKEN");
  command.add_option("--data-dir", connection.data_dir, "Data directory of weir serve")
      ->envname("WEIR_DATA_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  command.add_flag("--json", connection.json, "Print the API's answer as JSON");
}

}  // namespace weir::cli
