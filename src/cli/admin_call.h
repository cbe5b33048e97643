// What the commands share that talk to the admin API of a running gateway: how they find it, what
// opens it, and how its answers become lines.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/admin_client.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace weir::cli {

// The options every such command has.
struct Connection {
  std::string admin_url;
  std::string token;
  std::string data_dir = "weir-data";
  bool json = false;  // print the API's answer as it is
};

// Adds them to a command. `connection` outlives it.
void AddConnection(CLI::App& command, Connection& connection);

// Sends; the parsed body, or a sentence for whoever typed the command.
Result<boost::json::value> TryAsk(const Connection& connection, std::string_view method,
                                  const std::string& target, const std::string& body = {},
                                  const std::string& headers = {});

// Sends, prints a problem if there is one, and hands over the parsed body otherwise.
std::optional<boost::json::value> Ask(const Connection& connection, std::string_view method,
                                      const std::string& target, const std::string& body = {},
                                      const std::string& headers = {});

// The member of an object as text; "-" when there is none.
std::string Text(const boost::json::value& value, std::string_view name);

boost::json::array Texts(const std::vector<std::string>& texts);

}  // namespace weir::cli
