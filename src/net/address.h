// Which addresses are out there, and which are this machine's or its network's own. A name that
// somebody else chose must not lead a request of ours to the second kind (server-side request
// forgery), in whatever form it is written. Pure.
#pragma once

#include <boost/asio/ip/address.hpp>

namespace weir::net {

// True for global unicast addresses that a packet of ours would leave the network for. IPv4
// addresses inside of IPv6 ones (mapped, NAT64) are judged as what they are; tunnels that carry
// them (6to4, Teredo) are not public. After the registries of special-purpose addresses of IANA
// (RFC 6890), read 2026-11.
bool IsPublic(const boost::asio::ip::address& address);

}  // namespace weir::net
