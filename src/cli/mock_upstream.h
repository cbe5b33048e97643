// `weir mock-upstream`: the sandbox's replies over HTTP in a process of its own, with faults set
// through a control endpoint. It is the upstream of tests, demos and benchmarks.
// docs/guide/mock-upstream.md is its manual; the control language is described there and nowhere
// else.
//
// MockUpstream is the handler alone, over the ports, so that tests drive it without a socket;
// RunMockUpstream puts it on a real server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/runtime.h"
#include "base/task.h"
#include "gateway/ports.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace weir::cli {

struct MockOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free port
  std::string log_file;    // empty: no log
  int workers = 1;         // threads, 1 to 64
};

// Serves until SIGTERM or SIGINT. Prints {"url":"http://HOST:PORT"} on one line when ready.
// Returns the exit code; a bad start prints one sentence and returns kExitFailed.
int RunMockUpstream(const MockOptions& options);

// Adds the subcommand `mock-upstream` to `app`; its callback runs it and leaves the exit code in
// `exit_code`, which must outlive `app`.
void AddMockUpstream(CLI::App& app, int& exit_code);

// What the mock has seen and what it was told to do. One for all workers; safe from any thread.
class MockState {
 public:
  MockState();
  ~MockState();
  MockState(const MockState&) = delete;
  MockState& operator=(const MockState&) = delete;

  // Opens the log for appending. Fails with kUnavailable.
  Result<void> OpenLog(const std::string& path);

  // The bodies of the control endpoint. SetFault fails with kBadInput; its detail is the sentence
  // for whoever wrote the JSON. `json` is bounded by kControlBytesMax.
  Result<void> SetFault(std::string_view json);
  std::string ListFaults() const;
  void ClearFaults();
  std::string Stats() const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

inline constexpr std::int64_t kControlBytesMax = 64 << 10;
inline constexpr std::int64_t kMockBodyBytesMax = 64 << 20;

// Answers one request; every path ends in Reply, End or Cut on `downstream`. The head's views must
// stay valid until then.
Task<void> ServeMock(const gateway::RequestHead& head, gateway::Downstream& downstream,
                     Runtime& runtime, MockState& state);

}  // namespace weir::cli
