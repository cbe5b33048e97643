// `weir demo --example NAME`: the example's configuration with a mock upstream, on free ports and a
// data directory that is removed afterwards. For trying things out, and for tests, which read the
// one JSON line it prints when it is ready:
//   {"base_url","admin_url","admin_token","keys":{name:secret},"upstreams":{name:url}}
#pragma once

#include <string>

namespace weir::cli {

struct DemoOptions {
  std::string example = "quotaflow";
  bool json = false;
  std::string mock_log;  // passed to the mock as --log
};

int RunDemo(const DemoOptions& options);

}  // namespace weir::cli
