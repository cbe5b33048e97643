#include "net/address.h"

#include <array>
#include <cstdint>

namespace weir::net {
namespace {

using boost::asio::ip::address;
using boost::asio::ip::address_v4;
using boost::asio::ip::address_v6;

struct Block4 {
  std::uint32_t base;
  int bits;
};

constexpr std::uint32_t V4(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

constexpr std::array kNotPublic4 = {
    Block4{V4(0, 0, 0, 0), 8},        // this network
    Block4{V4(10, 0, 0, 0), 8},       // private
    Block4{V4(100, 64, 0, 0), 10},    // behind a carrier's NAT
    Block4{V4(127, 0, 0, 0), 8},      // loopback
    Block4{V4(169, 254, 0, 0), 16},   // link-local; metadata of clouds
    Block4{V4(172, 16, 0, 0), 12},    // private
    Block4{V4(192, 0, 0, 0), 24},     // protocol assignments
    Block4{V4(192, 0, 2, 0), 24},     // documentation
    Block4{V4(192, 88, 99, 0), 24},   // 6to4 relays
    Block4{V4(192, 168, 0, 0), 16},   // private
    Block4{V4(198, 18, 0, 0), 15},    // benchmarks
    Block4{V4(198, 51, 100, 0), 24},  // documentation
    Block4{V4(203, 0, 113, 0), 24},   // documentation
    Block4{V4(224, 0, 0, 0), 4},      // multicast
    Block4{V4(240, 0, 0, 0), 4},      // reserved, broadcast
};

bool IsPublic4(std::uint32_t ip) {
  for (const Block4& block : kNotPublic4) {
    if ((ip ^ block.base) >> (32 - block.bits) == 0) return false;
  }
  return true;
}

// The first 64 bits of a block, and how many of them count.
struct Block6 {
  std::uint64_t base;
  int bits;
};

// Of 2000::/3. Outside of it nothing is global unicast but NAT64's well-known prefix.
constexpr std::array kNotPublic6 = {
    Block6{0x2001'0000'0000'0000, 23},  // protocol assignments: Teredo, benchmarks, ORCHID
    Block6{0x2001'0DB8'0000'0000, 32},  // documentation
    Block6{0x2002'0000'0000'0000, 16},  // 6to4
    Block6{0x3FFF'0000'0000'0000, 20},  // documentation
};

std::uint64_t Read(const address_v6::bytes_type& bytes, std::size_t from, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = from; i < from + count; ++i) value = value << 8 | bytes[i];
  return value;
}

bool IsPublic6(const address_v6& ip) {
  const auto bytes = ip.to_bytes();
  const std::uint64_t high = Read(bytes, 0, 8);
  const auto embedded = static_cast<std::uint32_t>(Read(bytes, 12, 4));
  const std::uint64_t middle = Read(bytes, 8, 4);
  const bool mapped = high == 0 && middle == 0xFFFF;                // ::ffff:a.b.c.d
  const bool nat64 = high == 0x0064'FF9B'0000'0000 && middle == 0;  // 64:ff9b::a.b.c.d
  if (mapped || nat64) return IsPublic4(embedded);
  if (high >> 61 != 1) return false;  // not 2000::/3
  for (const Block6& block : kNotPublic6) {
    if ((high ^ block.base) >> (64 - block.bits) == 0) return false;
  }
  return true;
}

}  // namespace

bool IsPublic(const address& address) {
  return address.is_v4() ? IsPublic4(address.to_v4().to_uint()) : IsPublic6(address.to_v6());
}

}  // namespace weir::net
