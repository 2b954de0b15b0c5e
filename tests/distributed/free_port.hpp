// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace culprit::test {

/// Listens at a port that the system chose, on all addresses.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    socklen_t length = sizeof(address);
    auto* const general = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, general, length) != 0 || ::listen(socket_, 1) != 0 ||
        ::getsockname(socket_, general, &length) != 0)
      throw std::runtime_error("no port to listen at");
    port_ = ntohs(address.sin6_port);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { ::close(socket_); }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  int socket_;
  std::uint16_t port_ = 0;
};

/// A port that nothing listens at; the system gives out others first.
inline std::uint16_t free_port() { return Listener().port(); }

}  // namespace culprit::test
