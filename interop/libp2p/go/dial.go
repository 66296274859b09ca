package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multistream"
)

// grace is how long a part that has seen the timeout may take to say what it was waiting for.
const grace = time.Second

type result struct {
	OK       bool     `json:"ok"`
	Peer     string   `json:"peer,omitempty"`
	Agent    string   `json:"agent,omitempty"`
	FirstMs  *float64 `json:"first_byte_ms,omitempty"`
	RttMs    *float64 `json:"rtt_ms"`
	Bytes    int64    `json:"bytes"`
	PerfUp   *float64 `json:"perf_up_s,omitempty"`
	PerfDown *float64 `json:"perf_down_s,omitempty"`
	CPU      *float64 `json:"cpu_s,omitempty"`
	Error    *string  `json:"error"`
}

func dial(args *arguments) *result {
	ctx, cancel := context.WithTimeout(context.Background(), args.timeout)
	defer cancel()
	done := make(chan *result, 1)
	go func() {
		told := &result{}
		err := talk(ctx, args, told)
		told.OK = err == nil
		if err != nil {
			text := err.Error()
			told.Error = &text
		}
		done <- told
	}()
	select {
	case told := <-done:
		return told
	case <-time.After(args.timeout + grace):
		text := fmt.Sprintf("not done after %s", args.timeout)
		return &result{Error: &text}
	}
}

func talk(ctx context.Context, args *arguments, told *result) error {
	target, err := peer.AddrInfoFromString(args.addresses[0])
	if err != nil {
		return err
	}
	h, err := newHost(args)
	if err != nil {
		return err
	}
	defer h.Close()
	identified, err := h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerIdentificationFailed)}, eventbus.BufSize(16))
	if err != nil {
		return err
	}
	defer identified.Close()

	began := time.Now()
	if args.firstByte {
		open := openHost
		if args.lazy {
			open = openSwarm
		}
		if err := firstByte(ctx, h, *target, open); err != nil {
			return fmt.Errorf("first byte: %w", err)
		}
		told.FirstMs = ms(time.Since(began))
	}
	if err := h.Connect(ctx, *target); err != nil {
		return err
	}
	told.Peer = target.ID.String()
	if told.Agent, err = agent(ctx, identified); err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	if told.RttMs, err = roundTrip(ctx, h, target.ID, args.pings); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if err := echoes(ctx, args, h, target.ID, told); err != nil {
		return err
	}
	if args.perf {
		if err := perf(ctx, args, h, target.ID, told); err != nil {
			return fmt.Errorf("perf: %w", err)
		}
	}
	return nil
}

func agent(ctx context.Context, identified event.Subscription) (string, error) {
	select {
	case told := <-identified.Out():
		switch told := told.(type) {
		case event.EvtPeerIdentificationCompleted:
			return told.AgentVersion, nil
		case event.EvtPeerIdentificationFailed:
			return "", told.Reason
		default:
			return "", fmt.Errorf("event %T", told)
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// roundTrip gives the median of so many pings, in milliseconds.
func roundTrip(ctx context.Context, h host.Host, target peer.ID, pings int) (*float64, error) {
	if pings == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := ping.Ping(ctx, h, target)
	times := make([]time.Duration, 0, pings)
	for range pings {
		answer, ok := <-answers
		if !ok {
			return nil, errors.New("no answer")
		}
		if answer.Error != nil {
			return nil, answer.Error
		}
		times = append(times, answer.RTT)
	}
	slices.Sort(times)
	return ms(times[len(times)/2]), nil
}

func echoes(ctx context.Context, args *arguments, h host.Host, target peer.ID, told *result) error {
	done := make(chan error, args.streams)
	for index := range args.streams {
		go func() {
			if err := echo(ctx, args, h, target, uint64(index)); err != nil {
				err = fmt.Errorf("echo stream %d: %w", index, err)
				done <- err
				return
			}
			done <- nil
		}()
	}
	var failed error
	for range args.streams {
		if err := <-done; err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		told.Bytes += args.mib * mib
	}
	return failed
}

func echo(ctx context.Context, args *arguments, h host.Host, target peer.ID, index uint64) error {
	s, err := h.NewStream(ctx, target, echoID)
	if err != nil {
		return err
	}
	defer s.Reset()
	deadline, _ := ctx.Deadline()
	s.SetDeadline(deadline)
	length := args.mib * mib
	written := make(chan error, 1)
	go func() {
		source := pattern(index)
		buf := make([]byte, chunkSize)
		for range length / chunkSize {
			source.fill(buf)
			if _, err := s.Write(buf); err != nil {
				written <- fmt.Errorf("write: %w", err)
				return
			}
		}
		if !args.lateClose {
			written <- s.CloseWrite()
			return
		}
		written <- nil
	}()
	if err := compare(s, pattern(index), length); err != nil {
		return err
	}
	if err := <-written; err != nil {
		return err
	}
	if args.lateClose {
		if err := s.CloseWrite(); err != nil {
			return err
		}
	}
	n, err := s.Read(make([]byte, 1))
	if n != 0 || err != io.EOF {
		return fmt.Errorf("expected the end, got %d bytes, %v", n, err)
	}
	return s.Close()
}

// compare reads that many bytes of the pattern.
func compare(r io.Reader, source pattern, length int64) error {
	want, got := make([]byte, chunkSize), make([]byte, chunkSize)
	for at := int64(0); at < length; at += chunkSize {
		if n, err := io.ReadFull(r, got); err != nil {
			return fmt.Errorf("read after %d bytes: %w", at+int64(n), err)
		}
		source.fill(want)
		if !slices.Equal(want, got) {
			return fmt.Errorf("other bytes came back, between %d and %d", at, at+chunkSize)
		}
	}
	return nil
}

// pattern is a xorshift generator, so that no part of a stream looks like another.
type pattern uint64

func (p *pattern) fill(buf []byte) {
	x := uint64(*p) ^ 0x9e3779b97f4a7c15
	for at := 0; at+8 <= len(buf); at += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(buf[at:], x)
	}
	*p = pattern(x ^ 0x9e3779b97f4a7c15)
}

func perf(ctx context.Context, args *arguments, h host.Host, target peer.ID, told *result) error {
	s, err := h.NewStream(ctx, target, perfID)
	if err != nil {
		return err
	}
	defer s.Reset()
	deadline, _ := ctx.Deadline()
	s.SetDeadline(deadline)
	spent, began := cpu(), time.Now()
	wanted := uint64(args.down) * mib
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, wanted)); err != nil {
		return err
	}
	if err := send(s, uint64(args.up)*mib); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	// Everything has arrived when the answer begins, or ends without a byte.
	buf := make([]byte, chunkSize)
	n, err := s.Read(buf)
	answered := time.Now()
	got := uint64(n)
	for err == nil {
		n, err = s.Read(buf)
		got += uint64(n)
	}
	if err != io.EOF {
		return err
	}
	if got != wanted {
		return fmt.Errorf("%d bytes came instead of %d", got, wanted)
	}
	used := cpu() - spent
	told.PerfUp, told.PerfDown, told.CPU = seconds(answered.Sub(began)), seconds(time.Since(answered)), seconds(used)
	return nil
}

type opener func(context.Context, host.Host, peer.AddrInfo) (io.ReadWriteCloser, error)

// openHost opens the first stream as users of go-libp2p do.
func openHost(ctx context.Context, h host.Host, target peer.AddrInfo) (io.ReadWriteCloser, error) {
	if err := h.Connect(ctx, target); err != nil {
		return nil, err
	}
	return h.NewStream(ctx, target.ID, echoID)
}

// openSwarm opens it as early as go-libp2p can.
func openSwarm(ctx context.Context, h host.Host, target peer.AddrInfo) (io.ReadWriteCloser, error) {
	h.Peerstore().AddAddrs(target.ID, target.Addrs, time.Hour)
	conn, err := h.Network().DialPeer(ctx, target.ID)
	if err != nil {
		return nil, err
	}
	s, err := conn.NewStream(network.WithNoDial(ctx, "dialed"))
	if err != nil {
		return nil, err
	}
	return struct {
		io.ReadWriter
		io.Closer
	}{multistream.NewMSSelect(s, echoID), s}, nil
}

func firstByte(ctx context.Context, h host.Host, target peer.AddrInfo, open opener) error {
	s, err := open(ctx, h, target)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, 1))
	return err
}

func ms(d time.Duration) *float64 {
	value := d.Seconds() * 1000
	return &value
}

func seconds(d time.Duration) *float64 {
	value := d.Seconds()
	return &value
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
