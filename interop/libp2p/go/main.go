// A node of go-libp2p with the command line of the example `peer`, for the interop matrix and the benchmarks:
//
//	go-libp2p-peer listen <multiaddr>... [--tls CHAIN.pem KEY.pem]
//	go-libp2p-peer dial <multiaddr> [--ca CA.pem] [--mib N] [--streams N] [--pings N] [--timeout S] [--late-close]
//	    [--perf UP_MIB,DOWN_MIB] [--first-byte] [--lazy]
//
// It also speaks plain /ip4/.../tcp/... addresses. `--first-byte` tells how long it took from the start of dialing
// until the first byte of /echo/1.0.0 was back, before anything else is done. `--lazy` opens it below go-libp2p's host,
// which otherwise waits for identify before it gives a stream out.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
)

const (
	mib       = 1 << 20
	chunkSize = 64 * 1024
	echoID    = "/echo/1.0.0"
	perfID    = "/perf/1.0.0"
)

type arguments struct {
	command    string
	addresses  []string
	chain, key string
	ca         string
	mib        int64
	streams    int
	pings      int
	timeout    time.Duration
	lateClose  bool
	perf       bool
	up, down   int64
	firstByte  bool
	lazy       bool
}

func main() {
	args, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if args.command == "listen" {
		if err := listen(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	result := dial(args)
	say(result)
	if !result.OK {
		os.Exit(1)
	}
}

func parse(words []string) (*arguments, error) {
	if len(words) == 0 || words[0] != "listen" && words[0] != "dial" {
		return nil, errors.New("usage: listen <multiaddr>... | dial <multiaddr>")
	}
	args := &arguments{command: words[0], mib: 1, streams: 1, pings: 3, timeout: 60 * time.Second}
	words = words[1:]
	var err error
	next := func() (word string) {
		if len(words) == 0 {
			err = errors.New("an option lacks its value")
			return ""
		}
		word, words = words[0], words[1:]
		return word
	}
	number := func(word string) int64 {
		value, wrong := strconv.ParseInt(word, 10, 32)
		if wrong == nil && value < 0 {
			wrong = fmt.Errorf("%d is negative", value)
		}
		err = errors.Join(err, wrong)
		return value
	}
	for len(words) > 0 {
		switch word := next(); word {
		case "--tls":
			args.chain, args.key = next(), next()
		case "--ca":
			args.ca = next()
		case "--mib":
			args.mib = number(next())
		case "--streams":
			args.streams = int(number(next()))
		case "--pings":
			args.pings = int(number(next()))
		case "--timeout":
			args.timeout = time.Duration(number(next())) * time.Second
		case "--late-close":
			args.lateClose = true
		case "--perf":
			up, down, _ := strings.Cut(next(), ",")
			args.perf, args.up, args.down = true, number(up), number(down)
		case "--first-byte":
			args.firstByte = true
		case "--lazy":
			args.lazy = true
		default:
			if strings.HasPrefix(word, "--") {
				return nil, fmt.Errorf("unknown option %s", word)
			}
			args.addresses = append(args.addresses, word)
		}
	}
	if err == nil && (len(args.addresses) == 0 || args.command == "dial" && len(args.addresses) > 1) {
		err = errors.New("which address?")
	}
	return args, err
}

// newHost makes a node with go-libp2p's defaults, but noise only and no transports over UDP.
func newHost(args *arguments) (host.Host, error) {
	var ws []any
	if args.chain != "" {
		pair, err := tls.LoadX509KeyPair(args.chain, args.key)
		if err != nil {
			return nil, err
		}
		ws = append(ws, websocket.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}))
	}
	if args.ca != "" {
		pem, err := os.ReadFile(args.ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", args.ca)
		}
		ws = append(ws, websocket.WithTLSClientConfig(&tls.Config{RootCAs: roots}))
	}
	options := []libp2p.Option{
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(websocket.New, ws...),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}
	if args.command == "listen" {
		options = append(options, libp2p.ListenAddrStrings(args.addresses...))
	} else {
		options = append(options, libp2p.NoListenAddrs)
	}
	return libp2p.New(options...)
}

func listen(args *arguments) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	h, err := newHost(args)
	if err != nil {
		return err
	}
	defer h.Close()
	h.SetStreamHandler(echoID, serveEcho)
	h.SetStreamHandler(perfID, servePerf)
	addresses, err := h.Network().InterfaceListenAddresses()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		say(map[string]string{"addr": fmt.Sprintf("%s/p2p/%s", address, h.ID())})
	}
	<-ctx.Done()
	return nil
}

func say(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		os.Exit(1)
	}
}
