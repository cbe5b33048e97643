#include "cli/admin_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "gateway/ports.h"

namespace weir::cli {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// Most are small. A slice of the ledger is at least one commit, and the largest that can wait for
// the disk is 64 MiB.
constexpr std::size_t kReplyBytesMax = 128 << 20;

std::unexpected<Error> Failure(ErrorCode code, std::string detail) {
  return Fail(code, ErrorSource::kEnvironment, std::move(detail));
}

std::string_view Trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::size_t> Number(std::string_view text, int base = 10) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string> Dechunk(std::string_view bytes) {
  std::string out;
  for (;;) {
    const std::size_t end = bytes.find("\r\n");
    if (end == std::string_view::npos) return std::nullopt;
    const auto size = Number(Trim(bytes.substr(0, std::min(end, bytes.find(';')))), 16);
    bytes.remove_prefix(end + 2);
    if (!size) return std::nullopt;
    if (*size == 0) return out;
    if (bytes.size() < *size || bytes.size() - *size < 2) return std::nullopt;
    out += bytes.substr(0, *size);
    if (bytes.substr(*size, 2) != "\r\n") return std::nullopt;
    bytes.remove_prefix(*size + 2);
  }
}

}  // namespace

Result<AdminReply> ParseReply(std::string_view bytes) {
  const auto bad = [] {
    return Failure(ErrorCode::kBadInput,
                   "the answer is not that of an admin listener; check the address");
  };
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return bad();
  std::string_view head = bytes.substr(0, end + 2);
  const std::string_view rest = bytes.substr(end + 4);
  if (!head.starts_with("HTTP/1.1 ") && !head.starts_with("HTTP/1.0 ")) return bad();
  const auto status = Number(head.substr(9, 3));
  if (!status || *status < 100 || *status > 599) return bad();
  AdminReply reply{.status = static_cast<int>(*status), .body = {}};
  std::optional<std::size_t> length;
  bool chunked = false;
  head.remove_prefix(head.find("\r\n") + 2);
  while (!head.empty()) {
    const std::size_t line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    head.remove_prefix(line_end + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return bad();
    const std::string_view value = Trim(line.substr(colon + 1));
    if (gateway::EqualsIgnoreCase(line.substr(0, colon), "content-length")) {
      length = Number(value);
      if (!length) return bad();
    } else if (gateway::EqualsIgnoreCase(line.substr(0, colon), "transfer-encoding")) {
      chunked = gateway::EqualsIgnoreCase(value, "chunked");
    }
  }
  if (chunked) {
    auto body = Dechunk(rest);
    if (!body) return bad();
    reply.body = std::move(*body);
  } else if (length) {
    if (rest.size() < *length) return bad();
    reply.body = rest.substr(0, *length);
  } else {
    reply.body = rest;
  }
  return reply;
}

Result<AdminClient> AdminClient::Make(std::string_view url, Secret token) {
  const auto bad = [&] {
    return Failure(ErrorCode::kBadInput,
                   "the admin address must look like http://127.0.0.1:8081, not " +
                       std::string(url.substr(0, 200)));
  };
  constexpr std::string_view kScheme = "http://";
  std::string_view authority = url;
  if (!authority.starts_with(kScheme)) return bad();
  authority.remove_prefix(kScheme.size());
  while (authority.ends_with('/')) authority.remove_suffix(1);
  const std::size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos ||
      authority.find_first_of("/?#@ \r\n") != std::string_view::npos) {
    return bad();
  }
  std::string_view host = authority.substr(0, colon);
  const auto port = Number(authority.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || !port || *port == 0 || *port > 65535) return bad();
  return AdminClient(std::string(host), std::to_string(*port), std::move(token));
}

Result<AdminReply> AdminClient::Send(std::string_view method, std::string_view target,
                                     std::string_view body, std::string_view headers,
                                     Duration deadline) const {
  const std::string host = host_.find(':') == std::string::npos ? host_ : "[" + host_ + "]";
  std::string request;
  request += method;
  request += ' ';
  request += target;
  request += " HTTP/1.1\r\nhost: " + host + ":" + port_ + "\r\nauthorization: Bearer ";
  request += token_.Reveal();
  request += "\r\naccept: application/json\r\nconnection: close\r\n";
  if (!body.empty() || method == "POST" || method == "PATCH") {
    if (!headers.starts_with("content-type:")) request += "content-type: application/json\r\n";
    request += "content-length: " + std::to_string(body.size()) + "\r\n";
  }
  request += headers;
  request += "\r\n";
  request += body;

  // Asio's synchronous calls have no deadlines, so the same steps run asynchronously on a loop of
  // their own, which is given that long.
  asio::io_context io;
  tcp::socket socket(io);
  tcp::resolver resolver(io);
  std::string reply;
  boost::system::error_code outcome = asio::error::would_block;
  const char* step = "reach";
  resolver.async_resolve(host_, port_, [&](boost::system::error_code error, const auto& found) {
    outcome = error;
    if (outcome) return;
    asio::async_connect(socket, found, [&](boost::system::error_code connect_error, const auto&) {
      outcome = connect_error;
      if (outcome) return;
      step = "write to";
      asio::async_write(socket, asio::buffer(request),
                        [&](boost::system::error_code write_error, std::size_t) {
                          outcome = write_error;
                          if (outcome) return;
                          step = "read from";
                          asio::async_read(socket, asio::dynamic_buffer(reply, kReplyBytesMax),
                                           [&](boost::system::error_code read_error, std::size_t) {
                                             outcome = read_error == asio::error::eof
                                                           ? boost::system::error_code()
                                                           : read_error;
                                           });
                          outcome = asio::error::would_block;
                        });
      outcome = asio::error::would_block;
    });
    outcome = asio::error::would_block;
  });
  io.run_for(std::chrono::nanoseconds(deadline.ns));
  const std::string where = "the admin listener at http://" + host + ":" + port_;
  if (!io.stopped() || outcome == asio::error::would_block) {
    boost::system::error_code ignored;
    socket.close(ignored);
    resolver.cancel();
    io.run();  // what was under way ends as cancelled, while what it refers to is still here
    return Failure(ErrorCode::kTimeout, where + " did not answer in time");
  }
  if (outcome) {
    const bool refused = std::string_view(step) == "reach";
    return Failure(
        refused ? ErrorCode::kConnectFailed : ErrorCode::kConnectionLost,
        std::string("cannot ") + step + " " + where + ": " + outcome.message() +
            (refused ? "; start weir serve, or name another address with --admin-url" : ""));
  }
  return ParseReply(reply);
}

}  // namespace weir::cli
