// A blocking client of the admin API for the command line: one request, one connection, bounded in
// time and size. Plain HTTP, because the admin listener is on the loopback address; whoever moves
// it elsewhere reaches it through a tunnel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"

namespace weir::cli {

struct AdminReply {
  int status = 0;
  std::string body;
};

class AdminClient {
 public:
  // `url` is "http://host:port", nothing behind it. Fails with kBadInput.
  static Result<AdminClient> Make(std::string_view url, Secret token);

  // Sends one request and waits for the whole reply.
  //   body     JSON, or empty for none
  //   headers  more of them, finished lines ("name: value\r\n"); a content-type, in place of
  //            JSON's, comes first
  //   fails    kConnectFailed, kTimeout, kConnectionLost, kBadInput, kTooLarge; the detail is a
  //            sentence for whoever typed the command
  Result<AdminReply> Send(std::string_view method, std::string_view target,
                          std::string_view body = {}, std::string_view headers = {},
                          Duration deadline = Seconds(30)) const;

 private:
  AdminClient(std::string host, std::string port, Secret token)
      : host_(std::move(host)), port_(std::move(port)), token_(std::move(token)) {}
  std::string host_;
  std::string port_;
  Secret token_;
};

// The body of a reply as it came, from "HTTP/1.1 200 OK\r\n..." to its end: with Content-Length,
// chunked, or until the connection closed. Fails with kBadInput when it is cut or not HTTP.
Result<AdminReply> ParseReply(std::string_view bytes);

}  // namespace weir::cli
