// The controller as its registers drive it: started when it has not run for three cycles. What the program memory
// returns is free: any program, data, and writes into it by anyone. So are all other inputs.
reg [1:0] still = 3;  // cycles since it ran
always @(posedge clk) still <= running ? 0 : still == 3 ? 3 : still + 1;
always @* begin
  assume (!rst);
  assume (!start || (still == 3 && !running));
end
