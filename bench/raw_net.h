// What the load generator and the fast mock share: plain sockets, a clock and command-line flags.
// Benchmarks only: nothing here is careful enough for the product.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <string_view>

namespace weir::bench {

[[noreturn]] inline void Die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline std::int64_t NowMicroseconds() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000 + ts.tv_nsec / 1'000;
}

// User and system time of this process.
inline std::int64_t CpuMicroseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

// As many descriptors as ten thousand streams need on both sides, or as many as the system allows.
inline void RaiseDescriptorLimit() {
  const rlimit wanted{65'536, 65'536};
  if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

inline void SetNoDelay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

inline sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

inline bool StartsWithIgnoreCase(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != lower[i]) return false;
  }
  return true;
}

// `--name value` pairs; a flag the program did not ask for ends it, so that a misspelled one is not
// measured by mistake.
class Flags {
 public:
  Flags(int argc, char** argv, const char* help) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view arg = argv[i];
      if (arg == "--help" || !arg.starts_with("--") || i + 1 >= argc) {
        std::fputs(help, arg == "--help" ? stdout : stderr);
        std::exit(arg == "--help" ? 0 : 2);
      }
      values_[std::string(arg.substr(2))] = argv[++i];
    }
  }
  std::string Text(const char* name, const char* fallback) {
    const auto found = values_.find(name);
    if (found == values_.end()) return fallback;
    std::string value = found->second;
    values_.erase(found);
    return value;
  }
  std::int64_t Number(const char* name, std::int64_t fallback) {
    const std::string text = Text(name, "");
    return text.empty() ? fallback : std::atoll(text.c_str());
  }
  void Done() const {
    if (values_.empty()) return;
    std::fprintf(stderr, "unknown flag --%s\n", values_.begin()->first.c_str());
    std::exit(2);
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace weir::bench
