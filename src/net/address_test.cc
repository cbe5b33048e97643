// Addresses in every form that has been used to get around such a check, and the edges of each
// block.
#include "net/address.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::net {
namespace {

bool Public(const std::string& text) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(text, error);
  EXPECT_FALSE(error) << text;
  return IsPublic(address);
}

TEST(Address, PublicOnes) {
  for (const char* text : {"1.1.1.1",
                           "8.8.8.8",
                           "9.255.255.255",
                           "11.0.0.0",
                           "100.63.255.255",
                           "100.128.0.0",
                           "126.255.255.255",
                           "128.0.0.0",
                           "169.253.255.255",
                           "169.255.0.0",
                           "172.15.255.255",
                           "172.32.0.0",
                           "191.255.255.255",
                           "192.0.1.0",
                           "192.0.3.0",
                           "192.88.98.255",
                           "192.88.100.0",
                           "192.167.255.255",
                           "192.169.0.0",
                           "198.17.255.255",
                           "198.20.0.0",
                           "198.51.99.255",
                           "198.51.101.0",
                           "203.0.112.255",
                           "203.0.114.0",
                           "223.255.255.255",
                           "2000::1",
                           "2001:200::1",
                           "2001:4860:4860::8888",
                           "2001:db7:ffff::1",
                           "2001:db9::1",
                           "2003::1",
                           "2606:4700:4700::1111",
                           "2a00:1450::1",
                           "3ffe:ffff::1",
                           "3fff:1000::1",
                           "::ffff:8.8.8.8",
                           "64:ff9b::8.8.8.8"}) {
    EXPECT_TRUE(Public(text)) << text;
  }
}

TEST(Address, OnesOfThisMachineAndItsNetworks) {
  for (const char* text :
       {"0.0.0.0",         "0.255.255.255",   "10.0.0.0",        "10.255.255.255",
        "100.64.0.0",      "100.127.255.255", "127.0.0.1",       "127.255.255.255",
        "169.254.0.0",     "169.254.169.254", "169.254.255.255", "172.16.0.0",
        "172.31.255.255",  "192.0.0.0",       "192.0.0.170",     "192.0.2.1",
        "192.88.99.1",     "192.168.0.0",     "192.168.255.255", "198.18.0.0",
        "198.19.255.255",  "198.51.100.7",    "203.0.113.7",     "224.0.0.1",
        "239.255.255.255", "240.0.0.0",       "255.255.255.255"}) {
    EXPECT_FALSE(Public(text)) << text;
    // The same inside of an IPv6 address.
    EXPECT_FALSE(Public("::ffff:" + std::string(text))) << text;
    EXPECT_FALSE(Public("64:ff9b::" + std::string(text))) << text;
    EXPECT_FALSE(Public("::" + std::string(text))) << text;
  }
  for (const char* text : {"::",
                           "::1",
                           "::8.8.8.8",
                           "::ffff:0:808:808",
                           "64:ff9b:1::8.8.8.8",
                           "64:ff9b::1:808:808",
                           "100::1",
                           "2001::1",
                           "2001:0:7f00:1::",
                           "2001:2::1",
                           "2001:10::1",
                           "2001:20::1",
                           "2001:1ff:ffff::1",
                           "2001:db8::1",
                           "2002:7f00:1::",
                           "2002:808:808::1",
                           "3fff::1",
                           "3fff:fff:ffff::1",
                           "4000::1",
                           "5f00::1",
                           "fc00::1",
                           "fd00:ec2::254",
                           "fe80::1",
                           "fe80::1%1",
                           "febf::1",
                           "fec0::1",
                           "ff02::1",
                           "ff0e::1"}) {
    EXPECT_FALSE(Public(text)) << text;
  }
}

}  // namespace
}  // namespace weir::net
